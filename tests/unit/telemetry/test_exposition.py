"""Our encoder against the library's: the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from service.telemetry.exposition import OPENMETRICS, encode_openmetrics
from service.telemetry.metrics import Metrics

ENCODE, MEDIA_TYPE = choose_encoder("application/openmetrics-text; version=1.0.0")
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
POSITIVE = st.floats(min_value=0, max_value=1e300)
EXEMPLARS = st.none() | st.fixed_dictionaries(
    {"trace_id": st.text("0123456789abcdef", max_size=32)}
)


@given(st.text(max_size=20), st.text(min_size=1, max_size=20), NUMBERS)
def test_gauges_with_any_label_and_value_are_written_as_the_library_does(
    text: str, label: str, value: float
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("some_gauge", f"Help {text}", ("b", "a"), registry=registry)
    gauge.labels(label, "x").set(value)
    assert encode_openmetrics(registry) == ENCODE(registry)


@given(st.lists(st.tuples(POSITIVE, EXEMPLARS), max_size=8))
def test_histograms_and_counters_with_exemplars_are_written_as_the_library_does(
    observed: list[tuple[float, dict[str, str] | None]],
) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("some_seconds", "Help.", ("l",), registry=registry)
    counter = Counter("some", "Help.", registry=registry, unit="bytes")
    for value, exemplar in observed:
        histogram.labels("x").observe(value, exemplar)
        counter.inc(value, exemplar)
    assert encode_openmetrics(registry) == ENCODE(registry)


def test_the_gateways_own_metrics_are_written_as_the_library_does() -> None:
    registry = Metrics().registry
    own = [line for line in encode_openmetrics(registry).splitlines() if b"process_" not in line]
    theirs = [line for line in ENCODE(registry).splitlines() if b"process_" not in line]
    assert own == theirs


@pytest.mark.parametrize(
    ("scraper", "ours"),
    [
        # Prometheus 2.42 and 3.5, as they ask
        (
            "application/openmetrics-text;version=1.0.0,"
            "application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.1",
            True,
        ),
        ("text/plain", False),
        ("", False),
    ],
)
def test_scrapers_that_ask_for_openmetrics_get_it(scraper: str, *, ours: bool) -> None:
    assert choose_encoder(scraper)[1].startswith(OPENMETRICS) is ours
