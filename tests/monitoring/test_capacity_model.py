"""The queueing model against closed forms and against a queue that is really simulated."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity_model import BUSIEST, Station, percentile_s, plan


def simulated_mean_wait_s(station: Station, rate: float, arrivals: int = 200_000) -> float:
    """Let requests really queue for servers, first come first served."""
    random = np.random.default_rng(1)
    arrived = np.cumsum(random.exponential(1 / rate, arrivals))
    shape = 1 / station.cv2
    services = random.gamma(shape, station.service_s / shape, arrivals)
    free = [0.0] * station.servers
    waited = 0.0
    for at, service in zip(arrived, services, strict=True):
        begins = max(at, heapq.heappop(free))
        waited += begins - at
        heapq.heappush(free, begins + service)
    return waited / arrivals


def test_one_exponential_server_has_its_closed_form() -> None:
    station = Station(servers=1, service_s=0.1)
    assert station.waits(5.0) == pytest.approx(0.5)
    assert station.mean_wait_s(5.0) == pytest.approx(0.1)
    assert percentile_s([station], 5.0, 99) == pytest.approx(math.log(100) / 5.0, rel=0.03)


def test_two_servers_have_the_value_of_erlangs_table() -> None:
    assert Station(servers=2, service_s=1.0).waits(1.0) == pytest.approx(1 / 3)
    assert Station(servers=10, service_s=1.0).waits(8.0) == pytest.approx(0.4092, abs=1e-4)


def test_steady_service_halves_the_wait() -> None:
    wild, steady = (Station(1, 0.1, cv2) for cv2 in (1.0, 0.0))
    assert steady.mean_wait_s(8.0) == pytest.approx(wild.mean_wait_s(8.0) / 2)


@pytest.mark.parametrize(
    ("station", "rate"),
    [
        (Station(1, 0.02, 0.3), 35.0),
        (Station(2, 0.05, 0.5), 30.0),
        (Station(4, 0.1, 1.0), 34.0),
        (Station(8, 0.2, 0.2), 36.0),
    ],
)
def test_the_wait_is_that_of_a_simulated_queue(station: Station, rate: float) -> None:
    assert station.mean_wait_s(rate) == pytest.approx(simulated_mean_wait_s(station, rate), rel=0.1)


def test_an_overloaded_station_never_ends() -> None:
    assert Station(2, 0.1).mean_wait_s(20.0) == math.inf
    assert percentile_s([Station(2, 0.1)], 20.0, 50) == math.inf


@settings(deadline=None, max_examples=30)
@given(st.floats(1, 200), st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_a_plan_keeps_its_promise(rate: float, first_s: float, second_s: float) -> None:
    stations = [Station(1, first_s, 0.2), Station(1, second_s, 0.2)]
    planned = plan(stations, rate, 1.5)
    assert planned is not None
    assert planned is not None
    assert percentile_s(planned, rate, 99) <= 1.5
    assert all(station.load(rate) <= BUSIEST * (1 + 1e-9) for station in planned)


def test_no_number_of_servers_makes_service_itself_faster() -> None:
    assert plan([Station(1, 2.0, 0.1)], 1.0, 1.0) is None
