"""What holds for every list of studies, whatever the scores say."""

from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pipelines.queue_rule import credit_s, rank

B = 120.0


class Study(NamedTuple):
    """As a list knows it."""

    first: bool
    at: float
    u: float

    def key(self, *, up: bool = True) -> tuple[int, float, float]:
        """Its place."""
        return rank(self.first, self.at, 0.0 if self.first else credit_s(self.u, B), up)


times = st.floats(min_value=1.7e9, max_value=1.7e9 + 86400, allow_nan=False)
studies = st.lists(st.builds(Study, st.booleans(), times, st.floats(min_value=0, max_value=1)), max_size=40)


@given(studies)
def test_nobody_is_passed_by_a_study_that_came_the_bound_later(found: list[Study]) -> None:
    """Because of scores; what could not be analysed is on top."""
    scored = sorted((one for one in found if not one.first), key=Study.key)
    for place, one in enumerate(scored):
        assert all(before.at - one.at < 60 * B for before in scored[:place])


@given(studies)
def test_what_could_not_be_analysed_is_on_top_in_order_of_arrival(found: list[Study]) -> None:
    in_order = sorted(found, key=Study.key)
    top = [one for one in found if one.first]
    assert all(one.first for one in in_order[: len(top)])
    assert [one.at for one in in_order[: len(top)]] == sorted(one.at for one in top)


@given(studies, st.randoms())
def test_the_order_does_not_depend_on_how_the_list_came(found: list[Study], chance: Random) -> None:
    shuffled = found.copy()
    chance.shuffle(shuffled)
    assert [one.key() for one in sorted(found, key=Study.key)] == [one.key() for one in sorted(shuffled, key=Study.key)]


@given(studies)
def test_without_triage_the_list_is_that_of_arrival(found: list[Study]) -> None:
    in_order = sorted(found, key=lambda one: one.key(up=False))
    assert [one.at for one in in_order] == sorted(one.at for one in found)


@given(st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=1), times)
def test_a_higher_score_is_never_worse_and_no_score_is_worse_than_none(a: float, b: float, at: float) -> None:
    low, high = sorted((a, b))
    assert Study(False, at, high).key() <= Study(False, at, low).key() <= rank(False, at, 0.0, True)


@given(times, st.floats(min_value=0, max_value=7200), st.floats(min_value=0, max_value=86400))
def test_waiting_never_costs_a_place(at: float, credit: float, later: float) -> None:
    """Of two studies with one credit the older one is first or shares the place."""
    assert rank(False, at, credit, True) <= rank(False, at + later, credit, True)
