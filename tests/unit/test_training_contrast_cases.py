"""Simulated cases: the same on every call, lesions as drawn, and the white-matter peak found in them."""

import numpy as np
import pytest

from engines.mr import white_matter, white_matter_peak
from engines.training.clean import read_nifti
from engines.training.contrast_cases import Case, case
from engines.training.contrast_lesions import LEAKING, QUIET
from engines.training.contrast_scan import bias, boxes, spread
from engines.training.head_labels import DATA, smooth_field

needs_data = pytest.mark.skipif(not (DATA / "labels").is_dir(), reason="needs ../shared/data")


@pytest.fixture(scope="module")
def one() -> Case:
    return case(4, 1, spacing_mm=4.0, pixel_mm=1.2, stripped=False)


def test_slices_average_what_they_cover_and_keep_a_constant() -> None:
    weights = boxes(np.array([0.0, 4.5, 9.0]), 10, 3.0)

    assert weights.sum(1) == pytest.approx(1.0)
    assert weights[1, 2:8] == pytest.approx([0.0, 1 / 3, 1 / 3, 1 / 3, 0.0, 0.0], abs=0.2)
    assert float(weights[1] @ np.arange(10)) == pytest.approx(4.5)


def test_a_shift_moves_the_image_by_as_much() -> None:
    line = np.zeros(40, dtype=np.float32)
    line[20] = 1.0
    moved = spread(40, 0.8, 1.3) @ line

    assert float((moved * np.arange(40)).sum() / moved.sum()) == pytest.approx(20.0 - 1.3, abs=0.02)


def test_bias_stays_within_what_was_asked() -> None:
    field = bias(np.random.default_rng(0), (8, 60, 50), 0.3)

    assert field.max() == pytest.approx(1.3, rel=1e-3)
    assert field.min() == pytest.approx(1.0 / 1.3, rel=1e-3)


def test_smooth_fields_have_unit_spread() -> None:
    field = smooth_field(np.random.default_rng(0), (60, 120, 120), (6.0, 6.0, 6.0))

    assert abs(float(field.mean())) < 0.1
    assert float(field.std()) == pytest.approx(1.0, abs=0.1)


@needs_data
def test_the_same_arguments_give_the_same_case(one: Case) -> None:
    again = case(4, 1, spacing_mm=4.0, pixel_mm=1.2, stripped=False)

    assert np.array_equal(one.t1, again.t1)
    assert one.lesions == again.lesions
    assert not np.array_equal(one.t1, case(4, 2, spacing_mm=4.0, pixel_mm=1.2, stripped=False).t1[: len(one.t1)])


@needs_data
def test_gadolinium_never_darkens_and_what_has_no_barrier_enhances(one: Case) -> None:
    assert (one.post >= one.t1).all()
    assert 1.0 < one.factor[one.nawm].mean() < 1.06
    for control in (one.sinus, one.choroid, one.pituitary):
        assert np.median(one.factor[control]) > 1.15


@needs_data
@pytest.mark.parametrize(("kinds", "leaks"), [(LEAKING, True), (QUIET, False)])
def test_without_independence_the_kind_decides_who_leaks(kinds: tuple, leaks: bool) -> None:
    found = case(4, 3, spacing_mm=5.0, pixel_mm=1.2, kinds=kinds, independent=0.0)

    assert found.lesions
    assert {lesion.leaks for lesion in found.lesions} == {leaks}
    assert bool(found.enhancing.any()) == leaks


@needs_data
@pytest.mark.parametrize("stripped", [False, True])
def test_the_white_matter_peak_is_that_of_white_matter(stripped: bool) -> None:
    for seed in (41, 43):  # a gradient echo over muscle of the face, and a spin echo of little contrast
        found = case(4, seed, spacing_mm=4.0, stripped=stripped)
        white = white_matter(found.t1)
        for volume, limit in ((found.t1, 0.08), (found.t2, 0.06), (found.flair, 0.08)):
            middle = float(np.median(volume[found.nawm & (volume > 0)]))
            assert white_matter_peak(volume, white) == pytest.approx(middle, rel=limit)


@needs_data
def test_the_white_matter_peak_of_real_series_is_their_white_matter() -> None:
    series = {name: read_nifti(DATA / "mr" / f"tumour_tcga-du-7294_{name}.nii.gz") for name in ("t1", "t2", "flair")}
    white = white_matter(series["t1"])
    peaks = {name: white_matter_peak(volume, white) for name, volume in series.items()}
    head = read_nifti(DATA / "mr" / "t1_mprage_studyforrest_0.67mm.nii.gz")

    # Read off the images by eye: deep white matter away from the tumour, and of the healthy head.
    assert peaks == pytest.approx({"t1": 600.0, "t2": 465.0, "flair": 385.0}, rel=0.06)
    assert white_matter_peak(head) == pytest.approx(75.0, rel=0.06)


def test_noise_is_no_head() -> None:
    with pytest.raises(ValueError, match="no signal"):
        white_matter_peak(np.zeros((10, 64, 64), dtype=np.float32))
    with pytest.raises(ValueError, match="voxels"):
        white_matter_peak(np.pad(np.ones((4, 6, 6), dtype=np.float32), ((3, 3), (40, 40), (40, 40))))
