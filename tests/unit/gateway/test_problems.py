"""Every deliberate error has its problem type, and none leaks what is inside."""

from __future__ import annotations

import inspect

from service import errors
from service.api.problems import PROBLEMS

ABSTRACT = {
    errors.DiscernError,
    errors.RequestError,
    errors.CapacityError,
    errors.BackendError,
}
NEVER_PER_REQUEST = {errors.ArtefactError, errors.SettingsError}


def _every_error() -> set[type[errors.DiscernError]]:
    return {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.DiscernError)
    }


def test_the_table_names_every_error_that_can_reach_a_caller() -> None:
    assert set(PROBLEMS) == _every_error() - ABSTRACT - NEVER_PER_REQUEST


def test_the_tree_in_the_docstring_names_every_error() -> None:
    tree = errors.__doc__ or ""
    assert [error.__name__ for error in _every_error() if error.__name__ not in tree] == []


def test_a_fault_of_the_caller_is_a_4xx_and_a_fault_of_ours_is_not() -> None:
    theirs = {kind for kind in PROBLEMS if issubclass(kind, errors.RequestError)}
    assert {PROBLEMS[kind].status // 100 for kind in theirs} == {4}
    ours = set(PROBLEMS) - theirs - {errors.ClientGone}
    assert {PROBLEMS[kind].status // 100 for kind in ours} == {5}


def test_codes_are_distinct() -> None:
    codes = [problem.code for problem in PROBLEMS.values()]
    assert sorted(set(codes)) == sorted(codes)
