"""Measures of a triage against cases whose answer is known."""

import numpy as np
import pytest

from engines.training import headct_measures as measured
from engines.training.evaluate_triage_lines import Part, Row, acceptance, summary
from engines.training.headct import Kind


def test_the_area_of_two_normal_distributions_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    no, yes = rng.normal(0.0, 1.0, 400), rng.normal(1.5, 1.0, 400)

    found = measured.area(no, yes)

    assert found.mean == pytest.approx(0.8556, abs=0.03)  # Phi(1.5 / sqrt(2))
    assert found.low < 0.8556 < found.high
    assert found.high - found.low < 0.08


def test_a_method_gains_nothing_over_itself_and_something_over_chance() -> None:
    rng = np.random.default_rng(1)
    no, yes = rng.normal(0.0, 1.0, (150, 2)), rng.normal(0.0, 1.0, (150, 2))
    yes[:, 0] += 1.5

    same = measured.area_gain(no[:, [0, 0]], yes[:, [0, 0]])
    more = measured.area_gain(no, yes)

    assert same.mean == same.low == same.high == 0.0
    assert more.low > 0.2


def test_sensitivity_is_read_where_nine_of_ten_normals_lie_below() -> None:
    no, yes = np.arange(100.0), np.concatenate([np.full(60, 95.0), np.full(40, 50.0)])

    assert measured.sensitivity(no, yes).mean == pytest.approx(0.6)


def test_true_probabilities_have_no_calibration_error_and_bold_ones_have() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(6000)
    truth = rng.random(6000) < p
    bold = np.clip(3.0 * (p - 0.5) + 0.5, 0.01, 0.99)

    good = measured.calibration(p[~truth], p[truth])
    bad = measured.calibration(bold[~truth], bold[truth])

    assert good["ece"] < 0.03
    assert bad["ece"] > 0.1
    assert sum(row[2] for row in good["bins"]) == 6000


def test_a_place_is_near_within_millimetres_not_voxels() -> None:
    truth = np.zeros((20, 60, 60), dtype=bool)
    truth[10, 30, 30] = True
    affine = np.diag([5.0, 0.5, 0.5, 1.0])

    assert measured.lies_near((11, 30, 30), truth, affine)
    assert not measured.lies_near((12, 30, 30), truth, affine)
    assert measured.lies_near((10, 30, 41), truth, affine)
    assert not measured.lies_near((10, 30, 44), truth, affine)
    assert not measured.lies_near((0, 0, 0), np.zeros_like(truth), affine)


def test_froc_counts_marks_in_normals_and_lesions_that_were_met() -> None:
    normal = [[5.0], [], [3.0], []]
    abnormal = [[(9.0, True)], [(4.0, True), (8.0, False)], [(9.0, False)], []]

    assert measured.froc(normal, abnormal, (0.0, 0.25, 1.0)) == [[0.0, 0.25], [0.25, 0.5], [1.0, 0.5]]


def test_a_classifier_is_at_chance_on_noise_and_finds_a_trace() -> None:
    rng = np.random.default_rng(3)
    values, labels = rng.normal(size=(120, 6)), np.arange(120) % 2 == 0
    traced = values.copy()
    traced[labels, 2] += 1.5

    assert measured.chance(values, labels).low < 0.5 < measured.chance(values, labels).high
    assert measured.chance(traced, labels).low > 0.65


def rows(shift: float) -> list[Row]:
    """Cases whose scores are known; every 20th is not analysed."""
    rng = np.random.default_rng(4)
    made = []
    for k in range(200):
        kind = Kind.NORMAL if k % 2 else (Kind.ICH, Kind.INFARCT)[k // 2 % 2]
        score = float(rng.normal(0.0 if k % 2 else shift))
        seen = {} if k % 20 == 0 else {"network": score}
        made.append(
            Row(
                part=Part.NORMAL if k % 2 else Part.ABNORMAL,
                kind=kind.value,
                group=f"head {5 + k % 3 % 2:02d}",
                volume_ml=10.0,
                scores={**seen, "threshold rule": score, "asymmetry index": 0.0, "atlas z-map": score},
                probability=None if k % 20 == 0 else 1.0 / (1.0 + np.exp(-score)),
                flagged=score > 1.0,
                peaks={} if k % 2 or k % 20 == 0 else {"network": k % 4 == 2},
                plain=(score, 1.0),
            )
        )
    odd = Row(part=Part.ODD, kind="child", group="head 05", reasons=("small",), by_image=True)
    turned = [
        Row(part=Part.TURNED, kind="normal", group="head 05", scores={"network": v}, facts={"case": 0})
        for v in (1.0, 1.25)
    ]
    return [*made, odd, *turned]


def test_lines_are_met_by_a_triage_that_sees_and_missed_by_one_that_does_not() -> None:
    good, blind = acceptance(rows(5.0)), acceptance(rows(0.0))

    assert all(line.name.startswith("simulated: ") for line in good)
    assert [line.passed for line in good] == [True, True, True, True, True, True, False, True]  # half of the hits
    assert not any(line.passed for line in blind[:3])


def test_the_summary_tells_what_was_not_analysed_and_the_worst_case() -> None:
    found = summary(rows(5.0))

    assert found["cases"]["analysed_abnormal"]["mean"] == pytest.approx(0.9)
    assert found["worst_case_auc"]["mean"] < found["groups"]["all"]["network"]["auc"]["mean"]
    assert found["groups"]["all"]["asymmetry index"]["auc"]["mean"] == 0.5
    assert found["out_of_scope"]["child"]["refused"]["mean"] == 1.0
    assert found["turned"]["largest_logit_difference"] == 0.25
