"""How many inputs are drawn: few in the suite, many in ``make chaos``."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long", max_examples=600)
