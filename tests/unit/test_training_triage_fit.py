"""The score of the triage: nothing that is more abnormal lowers it, and its probabilities are what they say."""

import numpy as np
import pytest

from engines.head_score import Score, transformed

fit = pytest.importorskip("engines.training.triage_fit", reason="scipy is only in the extra `train`")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Three figures of 400 cases: one that tells, one of noise, one that is lower in abnormal cases."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(400) < 0.5
    values = rng.normal(0.0, 1.0, (400, 3)) + abnormal[:, None] * np.array([2.0, 0.0, -1.0])
    return values, abnormal


def test_only_free_figures_may_lower_the_score(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, abnormal = drawn
    weight = fit.balanced(abnormal)
    _, bound = fit.logistic(values, abnormal, weight, [False, False, False])
    _, free = fit.logistic(values, abnormal, weight, [False, False, True])

    assert bound[0] > 0.5
    assert (bound >= 0.0).all()
    assert bound[2] == pytest.approx(0.0, abs=1e-6)
    assert free[2] < -0.2


def test_units_of_a_figure_do_not_matter(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, abnormal = drawn
    weight, free = fit.balanced(abnormal), [True] * 3
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
    knots = fit.isotonic(np.zeros(40), abnormal, fit.balanced(abnormal))

    assert [probability for _, probability in knots] == [pytest.approx(0.5)]


def test_percentiles_are_those_of_normals() -> None:
    logits = np.linspace(-3.0, 1.0, 200)
    score = Score(
        engine_sha256="0" * 64,
        intercept=-1.0,
        coefficients={"volume_positive_ml": 1.0, "asymmetry": 0.5},
        knots=((-1.0, 0.1), (1.0, 0.8)),
        threshold=0.5,
        normals=tuple(fit.percentiles(logits)),
        csf_mean=0.1,
        csf_sd=0.02,
    )

    assert score.percentile(-1.0) == pytest.approx(0.5)
    assert (score.percentile(-9.0), score.percentile(9.0)) == (0.0, 1.0)
    assert score.logit({"volume_positive_ml": np.e - 1.0, "asymmetry": 2.0}) == pytest.approx(1.0)
    assert transformed("volume_positive_ml", -1.0) == 0.0
    assert [score.probability(v) for v in (-5.0, 0.0, 5.0)] == pytest.approx([0.1, 0.45, 0.8])


def test_a_score_that_falls_is_refused() -> None:
    given = {
        "engine_sha256": "",
        "intercept": 0.0,
        "coefficients": {},
        "normals": (0.0, 1.0),
        "csf_mean": 0.1,
        "csf_sd": 0.1,
    }
    with pytest.raises(ValueError, match="knots that rise"):
        Score(knots=((0.0, 0.5), (1.0, 0.4)), threshold=0.45, **given)
    with pytest.raises(ValueError, match="Threshold and knots"):
        Score(knots=((0.0, 0.1), (1.0, 0.4)), threshold=0.5, **given)


def test_area_is_the_share_of_pairs() -> None:
    assert fit.area(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == pytest.approx(0.875)
