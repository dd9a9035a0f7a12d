"""The score of head-ct-triage: fitted to the network that ships, eight figures at most, none but CSF's lowers it."""

import numpy as np
import pytest

from engines.head import NAMES
from engines.head_score import LOGGED, Score, transformed
from engines.store import load_spec
from pipelines.head_ct_triage_limits import LIMITS

USUAL = dict.fromkeys(NAMES, 1.0)


def test_limits_were_calibrated_with_the_network_that_ships() -> None:
    """If not: python -m engines.training.triage_score, then a new version of the pipeline."""
    assert load_spec("head_ct_triage").sha256 == LIMITS.engine_sha256


def test_every_coefficient_belongs_to_a_figure() -> None:
    assert set(LIMITS.coefficients) <= set(NAMES)
    assert set(NAMES) >= LOGGED
    assert 1 <= len(LIMITS.coefficients) <= 8


@pytest.mark.parametrize("name", sorted(set(LIMITS.coefficients) - {"csf_volume_z"}))
def test_more_of_a_figure_never_lowers_the_score(name: str) -> None:
    scores = [LIMITS.logit({**USUAL, name: value}) for value in (0.0, 0.5, 1.0, 5.0, 50.0, 500.0)]
    probabilities = [LIMITS.probability(logit) for logit in scores]
    places = [LIMITS.percentile(logit) for logit in scores]

    for rising in (scores, probabilities, places):
        assert rising == sorted(rising)
        assert all(np.isfinite(rising))


def test_nothing_is_certain_and_nine_normals_of_ten_are_below_the_flag() -> None:
    normals = [LIMITS.probability(logit) for logit in LIMITS.normals]

    assert 0.0 < LIMITS.knots[0][1] < LIMITS.threshold < LIMITS.knots[-1][1] < 1.0
    assert 0.85 <= np.mean([probability < LIMITS.threshold for probability in normals]) <= 0.95


SCORE = Score(
    engine_sha256="0" * 64,
    intercept=-1.0,
    coefficients={"volume_positive_ml": 1.0, "asymmetry": 0.5},
    knots=((-1.0, 0.1), (1.0, 0.8)),
    threshold=0.5,
    normals=tuple(np.linspace(-3.0, 1.0, 41).tolist()),
    csf_mean=0.1,
    csf_sd=0.02,
)


def test_a_score_is_the_sum_then_the_line_between_knots_level_beyond() -> None:
    assert SCORE.logit({"volume_positive_ml": np.e - 1.0, "asymmetry": 2.0}) == pytest.approx(1.0)
    assert transformed("volume_positive_ml", -1.0) == 0.0
    assert [SCORE.probability(v) for v in (-5.0, 0.0, 5.0)] == pytest.approx([0.1, 0.45, 0.8])


def test_percentiles_are_those_of_normals() -> None:
    assert SCORE.percentile(-1.0) == pytest.approx(0.5)
    assert (SCORE.percentile(-9.0), SCORE.percentile(9.0)) == (0.0, 1.0)


def test_a_figure_that_is_missing_is_no_zero() -> None:
    with pytest.raises(KeyError, match="asymmetry"):
        SCORE.logit({"volume_positive_ml": 1.0})


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
