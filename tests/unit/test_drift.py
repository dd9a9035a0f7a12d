"""Drift of a scanner's triage: seen when it is there, and not called when it is not."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from node.worklist.drift import BASELINE, Seen, course, distance, drift, ewma, stability, sums
from pipelines.triage import Flag


def studies(count: int, *, seed: int, rate: float = 0.2, power: float = 1.0) -> list[Seen]:
    """Percentiles as u^power; flagged are the highest `rate` of them where the power is 1."""
    u = np.random.default_rng(seed).random(count) ** power
    return [Seen(flag=Flag.RAISED if one > 1 - rate else Flag.NOT_RAISED, percentile=float(one)) for one in u]


def coins(count: int, rate: float, seed: int) -> list[bool]:
    return (np.random.default_rng(seed).random(count) < rate).tolist()


UNKNOWN = Seen(flag=Flag.NOT_ANALYSABLE, percentile=None)


def test_a_rate_that_doubles_or_halves_crosses_soon_and_the_right_one_seldom() -> None:
    """Of 100 scanners each; 2,000 studies are what the limit is laid out for."""
    right = sum(_ever(coins(2000, 0.2, seed), 0.2) is not None for seed in range(100))
    doubled = [_ever(coins(300, 0.4, seed), 0.2) for seed in range(100)]
    halved = [_ever(coins(500, 0.1, seed), 0.2) for seed in range(100)]

    assert right <= 37, "1 - exp(-1/2), and Lorden's bound leaves room, less what 100 scanners may vary"
    assert sum(one is not None for one in doubled) >= 99
    assert sum(one is not None for one in halved) >= 95


def _ever(raised: Sequence[bool], rate: float) -> int | None:
    """How many studies it took."""
    return next((number for number, one in enumerate(course(raised, rate), 1) if one.crossed), None)


def test_the_sums_say_which_way_the_rate_went() -> None:
    more, fewer = sums(coins(200, 0.5, 1), 0.2), sums(coins(400, 0.05, 1), 0.2)

    assert more.crossed
    assert more.rose > more.fell == 0.0
    assert fewer.crossed
    assert fewer.fell > fewer.rose


@pytest.mark.parametrize("rate", [0.0, 1.0, 1e-9])
def test_a_rate_at_its_end_is_no_fault(rate: float) -> None:
    assert math.isfinite(sums([True, False] * 50, rate).rose)
    assert not sums([], rate).crossed


def test_one_step_of_the_sum_is_the_likelihood_ratio() -> None:
    assert sums([True], 0.2).rose == pytest.approx(math.log(0.4 / 0.2))
    assert sums([False], 0.2).fell == pytest.approx(math.log(0.9 / 0.8))
    assert sums([True, False], 0.2).rose == pytest.approx(math.log(2) + math.log(0.6 / 0.8))


def test_the_index_is_that_of_its_formula_and_zero_for_itself() -> None:
    flat = [(i + 0.5) / 200 for i in range(200)]
    shifted = [u**0.5 for u in flat]
    index, limit = stability(flat, shifted)
    shares = np.histogram(shifted, bins=np.linspace(0, 1, 11))[0] / 200

    assert stability(flat, flat)[0] == 0.0
    assert index == pytest.approx(sum((q - 0.1) * math.log(q / 0.1) for q in shares), rel=0.08)
    assert index > limit > 0.2


def test_the_index_of_equal_distributions_is_believed_once_in_a_thousand_windows() -> None:
    rng = np.random.default_rng(3)
    above = [index > limit for index, limit in (stability(rng.random(200), rng.random(100)) for _ in range(1000))]
    naive = [index > 0.2 for index, _ in (stability(rng.random(200), rng.random(100)) for _ in range(1000))]

    assert sum(above) <= 10
    assert sum(naive) > 50, "0.2 alone is crossed by chance"


def test_scores_of_few_values_have_an_index_too() -> None:
    """A table of percentiles may be coarse."""
    index, _ = stability([0.0] * 100 + [1.0] * 100, [0.0] * 100)
    assert index > 0.2
    assert stability([0.5] * 200, [0.5] * 200)[0] == 0.0


def test_the_distance_of_two_distributions_and_its_chance() -> None:
    apart, chance = distance([0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9])
    assert apart == 1.0
    assert chance < 0.02
    rng = np.random.default_rng(4)
    rare = [distance(rng.random(200), rng.random(200))[1] < 0.05 for _ in range(400)]
    assert 0.02 < sum(rare) / 400 < 0.08
    assert distance([0.5] * 50, [0.5] * 50) == (0.0, 1.0)


def test_the_moving_average_counts_in_its_own_deviations() -> None:
    base = studies(200, seed=1)
    values = [one.percentile or 0.0 for one in base]
    assert abs(ewma(values, [float(np.mean(values))] * 50)) < 1e-9
    assert ewma(values, [1.0] * 30) > 3
    assert ewma(values, []) == 0.0
    rng = np.random.default_rng(5)
    found = [ewma(values, rng.random(100).tolist()) for _ in range(500)]
    assert np.std(found) == pytest.approx(1.0, abs=0.15)


def test_a_scanner_that_stays_as_it_was_gives_no_warning() -> None:
    found = drift(studies(BASELINE, seed=1), studies(600, seed=2), accepted_rate=None)

    assert found.warnings == ()
    assert found.studies == 200
    assert found.alarm_rate == pytest.approx(0.2, abs=0.08)
    assert abs(found.shift or 1.0) < 0.08


def test_a_scanner_whose_scores_rise_is_called_by_every_measure() -> None:
    found = drift(studies(BASELINE, seed=1), studies(300, seed=2, power=0.2), accepted_rate=None)

    assert len(found.warnings) == 4
    assert found.warnings[0].startswith("more flags than expected")
    assert (found.shift or 0) > 0.15


def test_fewer_flags_are_a_warning_as_well() -> None:
    found = drift(studies(BASELINE, seed=1), studies(600, seed=2, power=3.0), accepted_rate=None)
    assert found.warnings[0].startswith("fewer flags")


def test_until_there_are_enough_studies_nothing_is_compared() -> None:
    found = drift(studies(150, seed=1), [], accepted_rate=None)
    assert (found.studies, found.expected_rate, found.sums, found.psi, found.warnings) == (150, None, None, None, ())
    assert found.alarm_rate is not None
    few = drift(studies(BASELINE, seed=1), studies(99, seed=2), accepted_rate=None)
    assert few.sums is not None
    assert few.psi is few.ewma is few.shift is None


def test_no_study_at_all_is_no_fault() -> None:
    found = drift([], [], accepted_rate=None)
    assert (found.studies, found.alarm_rate, found.not_analysable) == (0, None, None)


def test_a_rate_of_the_settings_counts_from_the_first_study() -> None:
    first = studies(100, seed=1, rate=0.6)
    found = drift(first, [], accepted_rate=0.2)

    assert found.of_settings
    assert found.sums is not None
    assert found.sums.crossed
    assert "expected 20%" in found.warnings[0]


def test_what_could_not_be_analysed_counts_as_that_and_as_nothing_else() -> None:
    first, newer = studies(BASELINE, seed=1), studies(150, seed=2)
    mixed = [one for pair in zip(newer, [UNKNOWN] * 150, strict=True) for one in pair]
    found = drift(first, mixed, accepted_rate=None)

    assert found.not_analysable == 0.5
    assert replace(found, studies=0, not_analysable=0.0, alarm_rate=0.0) == replace(
        drift(first, newer, accepted_rate=None), studies=0, not_analysable=0.0, alarm_rate=0.0
    )
    nothing = drift([UNKNOWN] * 20, [], accepted_rate=None)
    assert (nothing.not_analysable, nothing.alarm_rate) == (1.0, None)
