"""Which series of a study go together: judged from what fits, the rule and a clock, never from the order of arrival."""

import itertools
from typing import Any

import pytest

from node.processing.gathering import choose, faults, judge
from node.records.gatherings import Candidate, Gathering
from node.records.states import GatheringState
from node.settings import Rule
from pipelines.pipeline import Pipeline
from tests.three_series import MIXED
from tests.two_series import PIPELINES

NEEDS_BOTH, NEEDS_EARLY = PIPELINES
NOW = 1_000_000.0


def rule(pipeline: Pipeline = NEEDS_BOTH, **values: Any) -> Rule:
    raw = {"name": "r", "pipeline": pipeline.name, "destinations": ["d"], "wait_s": 100.0, **values}
    return Rule.model_validate(raw)


def series(name: str, *, acquired: str = "20260101", version: int = 1, part: str = "all") -> Candidate:
    return Candidate(set_id=f"set-{name}-{version}", part=part, series_uid=name, version=version, acquired=acquired)


def verdict(
    candidates: dict[str, list[Candidate]],
    asked: Rule | None = None,
    pipeline: Pipeline = NEEDS_BOTH,
    *,
    patients: int = 1,
    unfinished: int = 0,
    after_s: float = 10.0,
) -> Any:
    one = Gathering(
        study_uid="1.2",
        rule="r",
        state=GatheringState.WAITING,
        candidates={role: tuple(some) for role, some in candidates.items()},
        since=NOW,
    )
    return judge(
        one, pipeline, asked or rule(pipeline), patients=patients, last_at=NOW, unfinished=unfinished, now=NOW + after_s
    )


def test_both_are_here_and_nothing_is_waited_for() -> None:
    found = verdict({"early": [series("1.1")], "late": [series("1.2")]})

    assert found.state is GatheringState.READY
    assert {role: one.series_uid for role, one in found.chosen.items()} == {"early": "1.1", "late": "1.2"}


@pytest.mark.parametrize(
    ("missing", "pipeline", "after_s", "state"),
    [
        ("hold", NEEDS_BOTH, 99, "waiting"),
        ("hold", NEEDS_BOTH, 101, "held"),
        ("drop", NEEDS_BOTH, 101, "dropped"),
        ("proceed", NEEDS_EARLY, 99, "waiting"),
        ("proceed", NEEDS_EARLY, 101, "ready"),
        ("hold", NEEDS_EARLY, 101, "held"),
        ("hold", NEEDS_BOTH, -3600, "held"),  # the clock was set back: what came in the future counts as long ago
    ],
)
def test_what_becomes_of_a_study_whose_late_series_never_comes(
    missing: str, pipeline: Pipeline, after_s: float, state: str
) -> None:
    found = verdict({"early": [series("1.1")]}, rule(pipeline, missing=missing), pipeline, after_s=after_s)

    assert found.state == state
    assert "no series for late" in found.reason
    assert set(found.chosen) == ({"early"} if state == "ready" else set())


T1, T2, FLAIR = ({role: [series(uid)]} for role, uid in (("t1", "1.1"), ("t2", "1.2"), ("flair", "1.3")))


@pytest.mark.parametrize(
    ("candidates", "state"),
    [(T1 | T2, "ready"), (T1 | FLAIR, "ready"), (T1, "held"), (T2 | FLAIR, "held"), (T1 | T2 | FLAIR, "ready")],
)
def test_of_two_optional_series_one_has_to_be_there(candidates: dict[str, list[Candidate]], state: str) -> None:
    found = verdict(candidates, rule(MIXED, missing="proceed"), MIXED, after_s=101)

    assert found.state == state
    alone = "no series for t2, flair (mixed-mr needs 1 of flair or t2) came within 100 s"
    assert (found.reason == alone) is (candidates == T1)


def test_a_pipeline_that_asks_the_whole_study_waits_until_all_of_it_is_complete() -> None:
    found = verdict(T1 | T2 | FLAIR, rule(MIXED), MIXED, unfinished=2)

    assert found.state is GatheringState.WAITING
    assert found.reason == "waits for 2 series of the study that are not complete"
    assert verdict(T1 | T2 | FLAIR, rule(MIXED), MIXED).state is GatheringState.READY
    both = {"early": [series("1.1")], "late": [series("1.2")]}
    assert verdict(both, unfinished=2).state is GatheringState.READY  # one that does not ask has no reason to wait


def test_without_the_series_that_defines_the_grid_nothing_proceeds() -> None:
    found = verdict({"late": [series("1.2")]}, rule(NEEDS_EARLY, missing="proceed"), NEEDS_EARLY, after_s=101)

    assert found.state is GatheringState.HELD


def test_a_series_that_is_still_coming_is_waited_for_beyond_the_time() -> None:
    found = verdict({"early": [series("1.1")]}, unfinished=1, after_s=500)

    assert found.state is GatheringState.WAITING
    assert "waits for 1 series that are not complete" in found.reason


def test_two_patients_are_refused_even_if_all_roles_are_filled() -> None:
    found = verdict({"early": [series("1.1")], "late": [series("1.2")]}, patients=2)

    assert found.state is GatheringState.REFUSED
    assert not found.chosen


@pytest.mark.parametrize(("prefer", "chosen"), [("newest", "1.9"), ("oldest", "1.1")])
def test_a_preference_goes_by_acquisition_in_every_order_of_arrival(prefer: str, chosen: str) -> None:
    some = [series("1.5", acquired="20260102"), series("1.9", acquired="20260103"), series("1.1", acquired="20260101")]
    asked = rule(roles={"early": {"prefer": prefer}})

    for order in itertools.permutations(some):
        found = choose(NEEDS_BOTH, asked, {"early": order, "late": [series("1.7")]})
        assert found.trouble == ""
        assert found.chosen["early"].series_uid == chosen


def test_two_parts_of_one_series_for_a_role_are_named() -> None:
    parts = [series("1.1", part="EchoTime=1"), series("1.1", part="EchoTime=2")]
    found = verdict({"early": parts, "late": [series("1.2")]})

    assert found.state is GatheringState.HELD
    assert "1.1 (EchoTime=1) and 1.1 (EchoTime=2)" in found.reason


def test_one_series_for_two_roles_is_held() -> None:
    found = verdict({"early": [series("1.1")], "late": [series("1.1")]})

    assert found.state is GatheringState.HELD
    assert "series 1.1 fits the roles early and late" in found.reason


def test_a_newer_version_takes_the_place_of_the_older_and_an_older_one_changes_nothing() -> None:
    one = Gathering(study_uid="1.2", rule="r", state=GatheringState.WAITING, since=NOW)
    one = one.with_set("1.1", 1, {"early": [series("1.1")]})
    newer = one.with_set("1.1", 2, {"early": [series("1.1", version=2)]})

    assert [it.version for it in newer.candidates["early"]] == [2]
    assert newer.with_set("1.1", 1, {"early": [series("1.1")]}) == newer
    assert newer.with_set("1.1", 3, {}).candidates == {}  # it fits no more


@pytest.mark.parametrize(
    ("pipeline", "values", "said"),
    [
        (NEEDS_BOTH, {}, []),
        (NEEDS_EARLY, {"missing": "proceed"}, []),
        (NEEDS_BOTH, {"roles": {"x": {}}}, ["mean-of-two has no role 'x'; it has early, late"]),
        (NEEDS_BOTH, {"missing": "proceed"}, ["missing is proceed, but mean-of-two needs every series that it takes"]),
    ],
)
def test_faults_of_a_rule_are_named(pipeline: Pipeline, values: dict[str, Any], said: list[str]) -> None:
    assert faults(pipeline, rule(pipeline, **values)) == said
