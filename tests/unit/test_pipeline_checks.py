"""Checks: a result that lost or gained something is held, with the figure; a good one is not."""

import dataclasses
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.ct_denoise import CT_DENOISE
from pipelines.pipeline import Checked
from pipelines.report import Finding, Report, Verdict
from pipelines.steps.checks import finite, geometry_equal, mean_shift_below, residual_is_noise, within_range
from pipelines.volume import Volume

BASIC = (finite, geometry_equal, within_range, mean_shift_below, residual_is_noise)
AFFINE = np.diag([2.0, 0.7, 0.7, 1.0])
NOISE_HU = 20.0


def phantom(*, slices: int = 5, size: int = 256) -> NDArray[np.float32]:
    """Air, fat ring, muscle, two lungs, a spine and vessels; (z, y, x) HU without noise."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    image = np.full((size, size), -1000.0)
    image[np.hypot(y / 0.8, x) < 0.46] = -100.0
    image[np.hypot(y / 0.8, x) < 0.42] = 50.0
    for side in (-1, 1):
        image[np.hypot(y / 1.3, x - side * 0.2) < 0.13] = -850.0
    image[np.hypot(y - 0.22, x) < 0.1] = 600.0
    rng = np.random.default_rng(2)
    for _ in range(80):
        place = np.hypot(y - rng.uniform(-0.3, 0.3), x - rng.uniform(-0.3, 0.3)) < rng.uniform(0.006, 0.02)
        image[place & (np.hypot(y / 0.8, x) < 0.4)] += 90.0
    return np.repeat(image[None], slices, axis=0).astype(np.float32)


CLEAN = phantom()
NOISE = np.random.default_rng(3).normal(0.0, NOISE_HU, CLEAN.shape).astype(np.float32)
SOURCE = Volume(voxels=CLEAN + NOISE, affine=AFFINE, unit="HU")


def result(voxels: NDArray[np.float32]) -> Volume:
    return Volume(voxels=voxels.astype(np.float32), affine=AFFINE, unit="HU")


def case(source: Volume, made: Volume) -> Checked:
    return Checked(source=source, result=made, headers=(), again=lambda image, index: image, parameters={})


def check(source: Volume, made: Volume) -> Report:
    """The basic checks as the pipeline sets them; the guards have tests of their own."""
    found = tuple(finding for one in CT_DENOISE.checks if isinstance(one, BASIC) for finding in one(case(source, made)))
    return Report(pipeline=CT_DENOISE.name, version=CT_DENOISE.version, findings=found)


def by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_noise_taken_away_and_nothing_else_passes() -> None:
    report = check(SOURCE, result(CLEAN + 0.4 * NOISE))

    assert not report.held, report.failed
    tissues = ("air", "lung", "fat", "soft", "bone")
    assert {f"mean_shift_{tissue}" for tissue in tissues} <= {finding.name for finding in report.findings}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_not_finite_is_found_and_counted(value: float) -> None:
    broken = CLEAN.copy()
    broken[1, 100, 100] = value

    (finding,) = finite()(case(SOURCE, result(broken)))

    assert finding.verdict is Verdict.REJECT
    assert finding.value == 1.0
    assert "1 of" in finding.text
    assert check(SOURCE, result(broken)).held


@pytest.mark.parametrize("shift", [5.0, -5.0])
def test_a_shift_of_5_hu_in_the_soft_tissue_is_held_with_its_figure(shift: float) -> None:
    moved = CLEAN + 0.4 * NOISE
    moved[(CLEAN > -20) & (CLEAN < 120)] += np.float32(shift)

    found = by_name(mean_shift_below(soft_hu=2.0, other_hu=5.0)(case(SOURCE, result(moved))))

    assert found["mean_shift_soft"].verdict is Verdict.REJECT
    assert found["mean_shift_soft"].value == pytest.approx(shift, abs=0.5)
    assert found["mean_shift_lung"].verdict is Verdict.PASS
    assert f"{found['mean_shift_soft'].value:+.2f} HU" in found["mean_shift_soft"].text


def test_a_wrong_rescale_intercept_is_held() -> None:
    assert check(SOURCE, result(CLEAN + 24.0)).held


def test_tissues_that_are_hardly_there_are_left_out_and_no_tissue_at_all_is_held() -> None:
    strange = Volume(voxels=np.full((1, 128, 128), 200.0, np.float32), affine=AFFINE, unit="HU")
    water = Volume(voxels=np.zeros((1, 128, 128), np.float32), affine=AFFINE, unit="HU")

    assert [finding.name for finding in mean_shift_below()(case(water, water))] == ["mean_shift_soft"]
    (finding,) = mean_shift_below()(case(strange, strange))
    assert finding.verdict is Verdict.REJECT
    assert finding.value is None


def blurred(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian, sigma 1 px."""
    taps = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    taps /= taps.sum()
    for axis in (1, 2):
        voxels = np.apply_along_axis(np.convolve, axis, voxels, taps, mode="same")
    return voxels.astype(np.float32)


def test_a_blur_is_found_as_removed_structure() -> None:
    (finding,) = residual_is_noise(limit=1.15)(case(SOURCE, result(blurred(SOURCE.voxels))))

    assert finding.verdict is Verdict.REJECT
    assert finding.value is not None
    assert finding.value > 2.0


def test_removed_vessels_are_found_as_removed_structure() -> None:
    flat = CLEAN.copy()
    flat[(CLEAN > 100.0) & (CLEAN < 300.0)] = 50.0
    edges_kept = np.where(CLEAN > 400.0, CLEAN, flat)
    erased = blurred(edges_kept)

    (finding,) = residual_is_noise(limit=1.15)(case(SOURCE, result(erased)))

    assert finding.verdict is Verdict.REJECT


def test_an_untouched_image_and_an_empty_one_remove_no_structure() -> None:
    empty = Volume(voxels=np.full((2, 64, 64), -1000.0, np.float32), affine=AFFINE, unit="HU")

    assert residual_is_noise(limit=1.15)(case(SOURCE, SOURCE))[0].verdict is Verdict.PASS
    assert residual_is_noise(limit=1.15)(case(empty, empty))[0].verdict is Verdict.PASS


def test_values_that_the_format_cannot_hold_are_held_with_the_range() -> None:
    high = CLEAN.copy()
    high[0, 0, 0] = 3100.0

    (finding,) = within_range(lowest_hu=-1024.0, highest_hu=3071.0)(case(SOURCE, result(high)))

    assert finding.verdict is Verdict.REJECT
    assert finding.value == pytest.approx(29.0)
    assert "3100.0 HU" in finding.text


def test_a_value_that_was_outside_in_the_source_too_passes() -> None:
    metal = SOURCE.voxels.copy()
    metal[0, 0, 0] = 8000.0

    assert (
        within_range(lowest_hu=-1024.0, highest_hu=3071.0)(case(result(metal), result(metal)))[0].verdict
        is Verdict.PASS
    )


def test_swapped_slices_of_another_shape_or_place_are_held() -> None:
    turned = result(np.swapaxes(CLEAN[:, :, :200], 1, 2).copy())
    shifted = AFFINE.copy()
    shifted[0, 3] = 2.0
    elsewhere = Volume(voxels=CLEAN, affine=shifted, unit="HU")
    undefined = Volume(voxels=CLEAN, affine=np.full((4, 4), np.nan), unit="HU")
    padded = Volume(voxels=CLEAN, affine=AFFINE, unit="HU", padding=np.zeros(CLEAN.shape, np.bool_))

    for other in (turned, elsewhere, undefined, padded, dataclasses.replace(elsewhere, affine=AFFINE, unit="1")):
        (finding,) = geometry_equal()(case(SOURCE, other))
        assert finding.verdict is Verdict.REJECT, finding.text
    assert geometry_equal()(case(SOURCE, result(CLEAN)))[0].verdict is Verdict.PASS


def test_results_of_another_shape_are_held_by_every_comparison_not_raised() -> None:
    report = check(SOURCE, result(CLEAN[:, :, :200].copy()))

    assert report.held
    assert {"geometry_equal", "mean_shift", "residual_is_noise"} <= {finding.name for finding in report.failed}


def test_all_checks_together_take_at_most_15_ms_per_slice() -> None:
    big = phantom(slices=8, size=512)
    source = result(big + np.random.default_rng(4).normal(0, 20, big.shape).astype(np.float32))
    times = []
    for _ in range(5):
        started = time.process_time()
        check(source, result(big))
        times.append((time.process_time() - started) / len(big))

    assert min(times) <= 0.015
