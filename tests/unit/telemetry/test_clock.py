from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import STAGES, Stage
from service.telemetry.clock import StageClock


@given(st.lists(st.sampled_from(STAGES), max_size=12))
def test_stages_add_up_to_the_total(visited: list[Stage]) -> None:
    clock = StageClock("queue")
    for stage in visited:
        clock.enter(stage)
    timings = clock.read()
    assert sum(timings.stages_s.values()) == pytest.approx(timings.total_s, abs=1e-12)
    assert set(timings.stages_s) == set(STAGES)


@given(st.lists(st.sampled_from(STAGES), min_size=1, max_size=12))
def test_intervals_follow_one_another_without_a_gap(visited: list[Stage]) -> None:
    clock = StageClock("queue")
    for stage in visited:
        clock.enter(stage)
    clock.read()
    assert [interval.stage for interval in clock.intervals] == ["queue", *visited]
    ends = [interval.ended_s for interval in clock.intervals]
    assert [interval.began_s for interval in clock.intervals[1:]] == ends[:-1]


def test_reading_again_gives_what_was_read() -> None:
    clock = StageClock("decode")
    assert clock.read() == clock.timings
