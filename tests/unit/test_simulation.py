"""The simulated queue: exact where an exact answer is known, and the same figures for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.simulation import closed_form
from node.simulation.cases import ASSUMED_DAY, Cases, Site, draw
from node.simulation.characteristic import Characteristic, binormal
from node.simulation.measures import Estimate, change, estimate, figures
from node.simulation.queue import Discipline, serve

SCORE = binormal(0.85)
PLAIN = Site(utilisation=0.7, failed=0.0, turnaround_s=0.0)
B = 120.0


def inside(exact: float, found: Estimate) -> bool:
    return found.low <= exact <= found.high


def waits(site: Site, discipline: Discipline, *, replications: int = 30, count: int = 4000) -> dict[str, Estimate]:
    drawn = [draw(site, SCORE, count, seed=5, replication=number) for number in range(replications)]
    rows = [figures(one, serve(one, discipline, readers=site.readers)) for one in drawn]
    return {name: estimate([row[name] for row in rows]) for name in rows[0]}


def cases(arrived: list[float], service: list[float], u: list[float], *, failed: tuple[int, ...] = ()) -> Cases:
    """Studies of known times, judged at once, none of them an emergency."""
    at = np.array(arrived)
    failures = np.isin(np.arange(at.size), failed)
    return Cases(
        arrived=at,
        service=np.array(service),
        emergency=np.zeros(at.size, bool),
        percentile=np.array(u),
        flagged=(np.array(u) >= 0.85) & ~failures,
        failed=failures,
        judged=at,
        down=np.empty(0),
    )


def order(found: np.ndarray, one: Cases) -> list[int]:
    return np.argsort(one.arrived + found, kind="stable").tolist()


def test_flagged_first_waits_as_the_closed_form_of_two_classes_says() -> None:
    found = waits(PLAIN, Discipline.FLAG)
    moments = closed_form.lognormal_moments(PLAIN.service_minutes, PLAIN.service_sigma)
    flagged, rest, emergencies = closed_form.two_classes(
        PLAIN.per_minute, moments, emergencies=0.1, sensitivity=SCORE.sensitivity, specificity=SCORE.specificity
    )

    assert inside(emergencies, found["emergencies_mean"])
    assert inside(rest, found["missed_mean"])
    assert flagged < found["emergencies_mean"].low
    assert not inside(closed_form.one_reader(PLAIN.per_minute, moments), found["missed_mean"]), "of another rule"


def test_arrival_order_waits_as_pollaczek_and_khinchine_say() -> None:
    moments = closed_form.lognormal_moments(PLAIN.service_minutes, PLAIN.service_sigma)

    assert inside(closed_form.one_reader(PLAIN.per_minute, moments), waits(PLAIN, Discipline.ARRIVAL)["others_mean"])


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_several_readers_wait_as_erlang_says(readers: int) -> None:
    site = replace(PLAIN, readers=readers)
    found = []
    for number in range(30):
        drawn = draw(site, SCORE, 4000, seed=9, replication=number)
        lengths = np.random.default_rng((9, number)).exponential(site.service_minutes, 4000)
        found.append(float(serve(replace(drawn, service=lengths), Discipline.ARRIVAL, readers=readers)[400:].mean()))
    exact = closed_form.several_readers(site.per_minute, site.service_minutes, readers)

    assert inside(exact, estimate(found))
    assert not inside(1.15 * exact, estimate(found))


def test_erlang_with_one_reader_is_the_queue_of_one_reader() -> None:
    exponential = (6.0, 2 * 6.0**2)
    assert closed_form.several_readers(0.1, 6.0, 1) == pytest.approx(closed_form.one_reader(0.1, exponential))


def test_the_same_seed_gives_the_same_figures_and_another_gives_others() -> None:
    site = Site(down=0.1, day=ASSUMED_DAY)
    first, again, other = (
        serve(draw(site, SCORE, 500, seed=seed, replication=0), Discipline.CREDIT, readers=1) for seed in (3, 3, 4)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sites_share_their_random_numbers() -> None:
    one = draw(Site(), SCORE, 500, seed=1, replication=2)
    busier = draw(Site(utilisation=0.4, failed=0.3, down=0.2), SCORE, 500, seed=1, replication=2)

    assert np.array_equal(one.emergency, busier.emergency)
    assert np.allclose(one.arrived, busier.arrived * 0.4 / 0.8)
    assert np.array_equal(one.service, busier.service)


def test_studies_come_by_the_hours_of_the_day_and_as_many_in_all() -> None:
    drawn = draw(Site(day=ASSUMED_DAY), SCORE, 60_000, seed=2, replication=0)
    by_hour = np.bincount((drawn.arrived % 1440 // 60).astype(int), minlength=24) / drawn.arrived.size

    assert np.abs(by_hour - np.array(ASSUMED_DAY) / sum(ASSUMED_DAY)).max() < 0.004
    assert drawn.arrived.size / drawn.arrived[-1] == pytest.approx(Site().per_minute, rel=0.02)


def test_reading_times_have_their_mean_and_spread() -> None:
    service = draw(Site(), SCORE, 60_000, seed=2, replication=0).service

    assert service.mean() == pytest.approx(6.0, rel=0.02)
    assert np.log(service).std() == pytest.approx(0.6, rel=0.02)


def test_each_rule_reads_in_its_own_order() -> None:
    """The first is being read while the others come; 4 could not be analysed."""
    one = cases([0, 1, 2, 3, 4, 5], [300.0] + [70.0] * 5, [0.0, 0.1, 0.6, 0.9, 0.0, 0.95], failed=(4,))
    found = {rule: order(serve(one, rule, readers=1), one) for rule in Discipline}

    assert found == {
        Discipline.ARRIVAL: [0, 1, 2, 3, 4, 5],
        Discipline.FLAG: [0, 4, 3, 5, 1, 2],
        Discipline.SCORE: [0, 4, 5, 3, 2, 1],
        Discipline.CAP: [0, 1, 2, 3, 4, 5],
        Discipline.CREDIT: [0, 4, 5, 3, 2, 1],
    }


def test_credit_ends_where_the_bound_does() -> None:
    one = cases([0, 1, 120, 122], [300.0, 5.0, 5.0, 5.0], [0.0, 0.0, 1.0, 1.0])

    assert order(serve(one, Discipline.CREDIT, readers=1, bound_minutes=B), one) == [0, 2, 1, 3]


def test_a_verdict_moves_a_study_only_from_when_it_is_known() -> None:
    one = replace(cases([0, 1, 2, 3], [10.0] * 4, [0, 0, 0, 1.0]), judged=np.array([0, 1, 2, 15.0]))

    assert order(serve(one, Discipline.CREDIT, readers=1), one) == [0, 1, 3, 2]


def test_while_triage_is_down_the_list_is_that_of_arrival() -> None:
    one = cases([0, 1, 2, 3], [10.0] * 4, [0, 0, 0, 1.0])
    down = replace(one, down=np.array([5.0, 15.0]))

    assert order(serve(one, Discipline.CREDIT, readers=1), one) == [0, 3, 1, 2]
    assert order(serve(down, Discipline.CREDIT, readers=1), down) == [0, 1, 3, 2]


def test_always_down_is_arrival_order() -> None:
    drawn = draw(Site(down=1.0), SCORE, 2000, seed=1, replication=0)

    assert np.array_equal(serve(drawn, Discipline.CREDIT, readers=2), serve(drawn, Discipline.ARRIVAL, readers=2))
    assert drawn.judged.min() > drawn.arrived.max(), "nothing is judged meanwhile"


studies = st.lists(st.tuples(st.floats(0, 60), st.floats(0.5, 30), st.floats(0, 1)), min_size=2, max_size=30)


@settings(max_examples=60)
@given(studies)
def test_a_score_costs_nobody_more_than_to_have_come_the_bound_later(found: list[tuple[float, float, float]]) -> None:
    """One reader: a study begins no later than one that comes B minutes after it would in the order of arrival."""
    gaps, lengths, u = (list(column) for column in zip(*found, strict=True))
    one = cases(np.cumsum(gaps).tolist(), lengths, u)
    begun = one.arrived + serve(one, Discipline.CREDIT, readers=1, bound_minutes=B)
    in_turn_end = one.arrived + serve(one, Discipline.ARRIVAL, readers=1) + one.service
    for at, start in zip(one.arrived, begun, strict=True):
        before = one.arrived < at + B
        assert start <= max(at + B, in_turn_end[before].max()) + 1e-9


@settings(max_examples=60)
@given(studies, st.integers(1, 3))
def test_nobody_is_passed_by_a_study_that_came_the_bound_later(
    found: list[tuple[float, float, float]], readers: int
) -> None:
    gaps, lengths, u = (list(column) for column in zip(*found, strict=True))
    one = cases(np.cumsum(gaps).tolist(), lengths, u)
    begun = one.arrived + serve(one, Discipline.CREDIT, readers=readers, bound_minutes=B)
    for first in range(one.arrived.size):
        later = one.arrived >= one.arrived[first] + B
        assert not (begun[later] < begun[first]).any()


def test_the_two_binormal_distributions_have_the_area_that_was_asked_for() -> None:
    for auc in (0.5, 0.75, 0.85, 0.95):
        found = binormal(auc)
        assert found.auc == pytest.approx(auc, abs=1e-3)
        assert found.specificity == pytest.approx(0.85, abs=1e-3)


def test_intervals_are_those_of_student() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    assert found.value == 3.5
    assert found.high - found.value == pytest.approx(2.5706 * 1.8708 / 6**0.5, rel=2e-3)
    assert np.isnan(estimate([1.0]).low)
    assert np.isnan(estimate([]).value)


def test_a_change_is_measured_in_pairs() -> None:
    reference = [10.0, 20.0, 30.0, 40.0]
    found = change([9.0, 18.0, 27.0, 36.0], reference)

    assert (found.value, found.low, found.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert np.isnan(change([1.0], [0.0]).value)
    assert np.isnan(change([1.0, 2.0], [0.0, 2.0]).low), "all but one wait for nothing"


def test_missed_emergencies_are_those_that_were_analysed_and_not_flagged() -> None:
    everywhere = Characteristic(
        name="all",
        others=np.array([0.2]),
        others_flagged=np.array([False]),
        emergencies=np.array([0.3]),
        emergencies_flagged=np.array([False]),
    )
    drawn = draw(Site(failed=0.5, emergencies=0.5), everywhere, 1000, seed=1, replication=0)
    numbers = np.arange(1000.0)
    found = figures(drawn, numbers)

    which = drawn.emergency[100:] & ~drawn.failed[100:]
    assert 0 < which.sum() < drawn.emergency[100:].sum()
    assert found["missed_mean"] == numbers[100:][which].mean() == found["unseen_mean"]
