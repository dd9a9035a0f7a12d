"""The score of the triage: nothing that is more abnormal lowers it, and its probabilities are what they say."""

import numpy as np
import pytest

fit = pytest.importorskip("engines.training.triage_fit", reason="scipy is only in the extra `train`")


def even(abnormal: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, half of it normal."""
    return np.where(abnormal, 0.5 / abnormal.sum(), 0.5 / (~abnormal).sum())


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Three figures of 400 cases: one that tells, one of noise, one that is lower in abnormal cases."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(400) < 0.5
    values = rng.normal(0.0, 1.0, (400, 3)) + abnormal[:, None] * np.array([2.0, 0.0, -1.0])
    return values, abnormal


def test_only_free_figures_may_lower_the_score(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, abnormal = drawn
    weight = even(abnormal)
    _, bound = fit.logistic(values, abnormal, weight, [False, False, False])
    _, free = fit.logistic(values, abnormal, weight, [False, False, True])

    assert bound[0] > 0.5
    assert (bound >= 0.0).all()
    assert bound[2] == pytest.approx(0.0, abs=1e-6)
    assert free[2] < -0.2


def test_units_of_a_figure_do_not_matter(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, abnormal = drawn
    weight, free = even(abnormal), [True] * 3
    scale = np.array([100.0, 0.1, 1.0])
    intercept, one = fit.logistic(values, abnormal, weight, free)
    moved, other = fit.logistic(values * scale + 5.0, abnormal, weight, free)

    assert intercept + values @ one == pytest.approx(moved + (values * scale + 5.0) @ other, abs=1e-2)


def test_calibrated_probabilities_rise_and_are_the_shares_that_are_abnormal() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0.0, 2.0, 4000)
    true = 1.0 / (1.0 + np.exp(-0.5 * logits))
    abnormal = rng.random(4000) < true
    at, made = np.array(fit.isotonic(logits, abnormal, np.full(4000, 1.0 / 4000))).T

    assert (np.diff(at) > 0.0).all()
    assert (np.diff(made) > 0.0).all()
    assert 0.0 < made[0] < made[-1] < 1.0
    assert np.abs(np.interp(logits, at, made) - true).mean() < 0.03


def test_prevalence_is_one_half_whatever_was_drawn() -> None:
    abnormal = np.array([True] * 30 + [False] * 10)
    knots = fit.isotonic(np.zeros(40), abnormal, even(abnormal))

    assert [probability for _, probability in knots] == [pytest.approx(0.5)]


def test_percentiles_go_from_the_least_to_the_greatest() -> None:
    made = fit.percentiles(np.linspace(-3.0, 1.0, 200), np.full(200, 0.005))

    assert made == sorted(made)
    assert (made[0], made[len(made) // 2], made[-1]) == pytest.approx((-3.0, -1.0, 1.0))


def test_percentiles_count_weights() -> None:
    made = fit.percentiles(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0, 3.0]) / 6.0)

    assert made[len(made) // 2] == pytest.approx(2.0)  # 1.5 if all counted alike


def test_area_is_the_share_of_pairs() -> None:
    assert fit.area(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == pytest.approx(0.875)
