"""The order of a reading list: what a score may do, and what it may not."""

import math

import pytest

from pipelines.queue_rule import credit_of_priority_s, credit_s, rank

B = 120.0
NOW = 1_790_000_000.0


@pytest.mark.parametrize(("u", "minutes"), [(0.0, 0), (0.5, 0), (0.75, 60), (0.9, 96), (1.0, 120)])
def test_credit_grows_from_the_middle_of_the_normals_to_the_bound(u: float, minutes: float) -> None:
    assert credit_s(u, B) == pytest.approx(60 * minutes)


@pytest.mark.parametrize("u", [math.nan, -0.01, 1.01, math.inf])
def test_a_percentile_that_is_none_earns_nothing_and_says_so(u: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        credit_s(u, B)


@pytest.mark.parametrize("bound", [math.nan, -1.0, math.inf])
def test_a_bound_that_does_not_bound_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="bound"):
        credit_s(0.9, bound)
    with pytest.raises(ValueError, match="bound"):
        credit_of_priority_s("HIGH", bound)


def test_priorities_of_others_are_worth_the_bound_and_keep_their_order_within_it() -> None:
    assert [credit_of_priority_s(p, B) for p in ("HIGH", "MEDIUM", "LOW")] == [7200.0, 0.0, -7200.0]
    keys = [rank(False, NOW, credit_of_priority_s(p, B), True) for p in ("HIGH", "MEDIUM", "LOW")]
    assert keys == sorted(keys)
    with pytest.raises(ValueError, match="known are HIGH, MEDIUM, LOW"):
        credit_of_priority_s("STAT", B)


def test_a_study_that_could_not_be_analysed_is_on_top_the_oldest_first() -> None:
    flagged = rank(False, NOW, 7200.0, True)
    assert rank(True, NOW + 5000, 0.0, True) < rank(True, NOW + 5001, 0.0, True) < flagged


def test_without_triage_arrival_alone_counts() -> None:
    """Whatever was said of a study before."""
    studies = [(True, NOW + 3, 0.0), (False, NOW, 0.0), (False, NOW + 2, 7200.0), (False, NOW + 1, -7200.0)]
    in_order = sorted(studies, key=lambda one: rank(*one, False))
    assert [at - NOW for _, at, _ in in_order] == [0, 1, 2, 3]


def test_a_study_that_came_the_bound_later_is_never_before_another() -> None:
    missed, flagged = rank(False, NOW, 0.0, True), rank(False, NOW + 60 * B, 60 * B, True)
    assert missed < flagged
    assert rank(False, NOW + 60 * (B - 1), 60 * B, True) < missed


@pytest.mark.parametrize(("at", "credit"), [(math.nan, 0.0), (NOW, math.nan), (math.inf, 0.0)])
def test_what_is_no_number_gets_no_place(at: float, credit: float) -> None:
    with pytest.raises(ValueError, match="no place in a list"):
        rank(False, at, credit, True)
