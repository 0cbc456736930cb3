"""When the client tries again, played through without a socket or a clock."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2
import pytest

from discern.retries import Outcome, Retries, Send, Sleep, converse

OK = httpx2.Response(200)
BUSY = httpx2.Response(503)
BUSY_FOR_3_S = httpx2.Response(503, headers={"Retry-After": "3"})
CUT_OFF = httpx2.ReadError("cut off")


def _played(
    outcomes: Sequence[Outcome], retries: Retries, timeout_s: float = 100
) -> tuple[list[Send | Sleep], Outcome]:
    """Return the steps of a conversation in which only pauses take time, and its end."""
    clock_s = 0.0
    talk = converse(retries, timeout_s, now=lambda: clock_s)
    coming = iter(outcomes)
    step = next(talk)
    steps = [step]
    while True:
        if isinstance(step, Sleep):
            clock_s += step.seconds
        try:
            step = talk.send(None if isinstance(step, Sleep) else next(coming))
        except StopIteration as last:
            return steps, last.value
        steps.append(step)


def test_a_good_answer_ends_it() -> None:
    assert _played([OK], Retries()) == ([Send(100)], OK)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 422, 500, 504])
def test_what_trying_again_would_not_mend_ends_it(status: int) -> None:
    answer = httpx2.Response(status)
    assert _played([answer], Retries())[1] is answer


@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_is_true_of_the_moment_is_tried_again(status: int) -> None:
    steps, last = _played([httpx2.Response(status), OK], Retries())
    assert last is OK
    assert [type(step) for step in steps] == [Send, Sleep, Send]


def test_the_server_says_how_long_to_wait() -> None:
    steps, _ = _played([BUSY_FOR_3_S, OK], Retries())
    assert steps == [Send(100), Sleep(3), Send(97)]


def test_a_wait_that_is_no_number_is_as_if_nothing_were_said() -> None:
    strange = httpx2.Response(503, headers={b"Retry-After": b"\xb2"})  # a raised two
    steps, last = _played([strange, OK], Retries(first_s=1))
    assert last is OK
    assert isinstance(steps[1], Sleep)
    assert 0.5 <= steps[1].seconds <= 1


def test_pauses_double_up_to_the_longest() -> None:
    steps, _ = _played([BUSY] * 4 + [OK], Retries(attempts=9, first_s=1, longest_s=4))
    pauses = [step.seconds for step in steps if isinstance(step, Sleep)]
    longest = [1, 2, 4, 4]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


def test_a_connection_that_breaks_is_tried_again_and_a_time_out_is_not() -> None:
    assert _played([CUT_OFF, OK], Retries())[1] is OK
    slow = httpx2.ReadTimeout("slow")
    assert _played([slow], Retries())[1] is slow


def test_attempts_are_bounded() -> None:
    steps, last = _played([BUSY] * 3, Retries(attempts=3))
    assert last is BUSY
    assert sum(isinstance(step, Send) for step in steps) == 3


def test_a_pause_that_would_outlast_the_deadline_is_not_begun() -> None:
    steps, last = _played([BUSY_FOR_3_S], Retries(), timeout_s=2)
    assert (steps, last) == ([Send(2)], BUSY_FOR_3_S)
