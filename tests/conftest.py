"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# The first call of a kernel compiles it, which no deadline foresees; and every run is the same run.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
