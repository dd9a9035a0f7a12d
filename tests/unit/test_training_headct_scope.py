"""Heads that are out of scope, the baselines of the triage, and the public volumes: what must be so of each."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.head import GRID, HeadStack
from engines.training.headct import normal_head
from engines.training.headct_acquire import Protocol
from engines.training.headct_anatomy import HARD, Matter, load
from engines.training.headct_artefacts import bones_of, hardening, ringed
from engines.training.headct_scope import Odd, odd_head
from engines.training.headct_shape import drawn_looks, shaped

LABELS = Path(__file__).parents[2].parent / "shared" / "data" / "labels"
needs_maps = pytest.mark.skipif(not LABELS.is_dir(), reason="the label maps of ../shared/data are not here")


@needs_maps
def test_a_real_map_becomes_a_head_of_an_adult() -> None:
    case = normal_head(np.random.default_rng(3), 4, protocol=Protocol(size=160, pixel_mm=1.45, noise_hu=2.0))

    rows = case.voxels[len(case.voxels) // 2]
    assert 26 <= len(case.voxels) <= 50
    assert (case.voxels < -900).mean() > 0.3
    assert (case.voxels > 600).mean() > 0.01
    assert 20.0 < np.median(rows[(rows > 0) & (rows < 80)]) < 45.0


@needs_maps
@pytest.mark.parametrize("odd", [Odd.CHILD, Odd.CONTRAST, Odd.OPERATED])
def test_what_is_out_of_scope_shows_why(odd: Odd) -> None:
    case = odd_head(np.random.default_rng(7), 4, odd, size=160)
    step = np.abs(np.linalg.det(case.affine[:3, :3])) / 1000.0

    assert case.headers["PatientAge"]
    if odd is Odd.CHILD:
        assert (case.voxels > 300).sum() * step < 330.0  # mL of bone
    if odd is Odd.CONTRAST:
        assert ((case.voxels > 80) & (case.voxels < 250)).sum() * step > 40.0
    if odd is Odd.OPERATED:
        assert case.facts["sort"]


@needs_maps
def test_a_skull_is_closed_but_for_its_base() -> None:
    head = load(4)
    subject = shaped(np.random.default_rng(0), head, drawn_looks(np.random.default_rng(0)))
    outside = ~np.isin(subject.matter, HARD)
    top = subject.content.shape[0] // 2
    # From the content of the upper half nothing leads out but bone: every neighbour of the content is content or bone.
    grown = subject.content.copy()
    for axis in range(3):
        for way in (1, -1):
            grown |= np.roll(subject.content, way, axis)
    leaks = grown & ~subject.content & outside
    assert leaks[top:].sum() < 0.02 * grown[top:].sum() * 0.1
    assert (subject.matter[subject.content] != Matter.AIR).mean() > 0.999


def test_the_beam_hardens_between_bones_that_face_each_other() -> None:
    image = np.full((1, 100, 100), 35.0, dtype=np.float32)
    image[0, 45:55, 5:35] = image[0, 45:55, 65:95] = 1200.0

    made = hardening(image, bones_of(image), 1.0, 1.0)

    assert made[0, 50, 50] < -3.0
    assert abs(made[0, 5, 50]) < 0.5
    assert made[0, 62, 20] > 0.5  # beside the bone a bright rim


def test_rings_lie_around_the_axis() -> None:
    made = ringed(np.random.default_rng(0), (2, 128, 128), 30.0, 1.0)

    turned = np.rot90(made, axes=(1, 2))
    assert np.corrcoef(made.ravel(), turned.ravel())[0, 1] > 0.8
    assert 10.0 < np.abs(made).max() < 130.0


def stack(hu: NDArray[np.float32]) -> HeadStack:
    z, y, x = np.indices(GRID.shape)
    mask = ((z - 16) / 13.0) ** 2 + ((y - 112) / 80.0) ** 2 + ((x - 95.5) / 66.0) ** 2 < 1.0
    return HeadStack(hu=np.where(mask, hu, 0.0).astype(np.float32), mask=mask, voxel_ml=GRID.voxel_ml)


def noisy(seed: int) -> NDArray[np.float32]:
    return (33.0 + np.random.default_rng(seed).normal(0.0, 4.0, GRID.shape)).astype(np.float32)


def test_the_threshold_rule_measures_blood_and_alarms_at_nothing() -> None:
    baselines = pytest.importorskip("engines.training.headct_baselines", reason="scipy is only in the extra `train`")
    hu = noisy(0)
    quiet = baselines.blood_ml(stack(hu))
    hu[14:18, 100:124, 60:84] = 65.0

    assert quiet < baselines.ALARM_ML
    assert baselines.blood_ml(stack(hu)) == pytest.approx(4 * 24 * 24 * GRID.voxel_ml, rel=0.2)


def test_the_atlas_marks_what_normals_do_not_have() -> None:
    baselines = pytest.importorskip("engines.training.headct_baselines", reason="scipy is only in the extra `train`")
    normal = baselines.atlas([stack(noisy(seed)) for seed in range(5)])
    hu = noisy(9)
    same = normal.z(stack(hu))
    hu[14:18, 100:124, 60:84] -= 12.0
    other = normal.z(stack(hu))

    assert abs(float(same[same != 0].mean())) < 0.2
    assert normal.score(other) > normal.score(same)
    assert np.median(other[15:17, 105:119, 65:79]) < -4.0
    with pytest.raises(ValueError, match="2 heads make no atlas"):
        baselines.atlas([stack(noisy(seed)) for seed in range(2)])
