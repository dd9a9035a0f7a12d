"""What is measured on thin slices, where the answer is known; and the baselines on what they must get right."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is only in the extra `train`")
pytest.importorskip("skimage", reason="scikit-image is only in the extra `train`")

from engines.training import tof_measures as measures
from engines.training.tof_acquire import Acquisition, Profile, acquired, encoding
from engines.training.tof_baselines import back_projected, cubic, linear, nearest
from engines.training.tof_vessels import Aneurysm, Tree

SIZES = (1.0, 0.5, 0.5)
BOX = Acquisition(profile=Profile.BOX, spacing_mm=4.0, width_mm=4.0)


@pytest.mark.parametrize("fwhm_mm", [1.5, 3.0, 4.2])
def test_the_width_of_a_gaussian_is_its_full_width_at_half_maximum(fwhm_mm: float) -> None:
    at = np.arange(-15.0, 15.01, 0.25)
    profile = 0.3 + np.exp(-4.0 * np.log(2.0) * (at / fwhm_mm) ** 2)

    assert measures.width(profile, 0.25) == pytest.approx(fwhm_mm, rel=0.03)


def test_a_profile_without_a_peak_has_no_width() -> None:
    assert np.isnan(measures.width(np.full(21, 0.3), 0.5))


def test_ten_to_ninety_of_a_ramp_is_eight_tenths_of_it() -> None:
    ramp = np.clip(np.arange(-10.0, 10.0) / 10.0 + 0.5, 0.0, 1.0)

    assert measures.rise(ramp, 0.5) == pytest.approx(0.8 * 10 * 0.5, rel=0.02)


def test_psnr_is_that_of_the_error_inside() -> None:
    truth = np.zeros((4, 8, 8), dtype=np.float32)
    made = truth + np.float32(0.1)
    made[:, 4:] = 5.0
    inside = np.zeros(truth.shape, dtype=bool)
    inside[:, :4] = True

    assert measures.psnr(made, truth, inside) == pytest.approx(20.0, abs=1e-4)


def test_ms_ssim_is_one_for_the_same_image_and_falls_with_blur() -> None:
    rng = np.random.default_rng(0)
    image = (rng.random((128, 160)) > 0.97).astype(np.float32)
    soft = (image + np.roll(image, 1, 0) + np.roll(image, -1, 0)) / 3.0

    assert measures.ms_ssim(image, image) == pytest.approx(1.0)
    assert 0.2 < measures.ms_ssim(soft.astype(np.float32), image) < 0.97


def _tube(radius_mm: float = 1.0) -> np.ndarray:
    z, y = np.mgrid[0:40, 0:60]
    away = np.hypot((z - 20) * SIZES[0], (y - 30) * SIZES[1])
    return np.repeat(np.clip(radius_mm - away + 0.5, 0.0, 1.0)[:, :, None], 50, axis=2).astype(np.float32)


def test_the_top_hat_marks_a_vessel_and_no_wide_tissue() -> None:
    volume = 0.3 + 0.6 * _tube()
    volume[:, 45:] += 0.5  # a wide bright region
    mask = measures.vessels(volume, SIZES, np.ones(volume.shape, dtype=bool))

    assert mask[20, 30].all()
    assert not mask[:, 40:].any()
    assert measures.dice(mask, _tube() >= 0.5) > 0.8


def test_a_gyrus_between_fluid_is_no_vessel_though_it_stands_out() -> None:
    volume = np.full((40, 60, 50), 0.45, dtype=np.float32)
    volume[:, 20:26] = volume[:, 30:36] = 0.1
    inside = np.ones(volume.shape, dtype=bool)

    assert (measures.top_hat(volume, SIZES) > measures.THRESHOLD)[:, 26:30].any()
    assert not measures.vessels(volume, SIZES, inside).any()


def test_cl_dice_of_a_thicker_vessel_is_one_and_half_a_vessel_halves_the_sensitivity() -> None:
    truth, thick = _tube(1.2) > 0.5, _tube(2.0) > 0.5
    half = truth.copy()
    half[:, :, 25:] = False
    lines = {name: measures.skeleton(mask) for name, mask in (("truth", truth), ("thick", thick), ("half", half))}

    assert measures.cl_dice(thick, truth, lines["thick"], lines["truth"]) == pytest.approx(1.0)
    assert measures.cl_dice(half, truth, lines["half"], lines["truth"]) == pytest.approx(2 / 3, abs=0.03)


def test_length_far_from_anything_real_is_false() -> None:
    truth = _tube() > 0.5
    made = truth.copy()
    made[35, 50] = True  # as long a line, where nothing is

    assert measures.false_length(measures.skeleton(truth), truth, SIZES) == 0.0
    assert measures.false_length(measures.skeleton(made), truth, SIZES) == pytest.approx(50.0, abs=3.0)


def test_a_sac_is_found_where_half_of_it_is_marked() -> None:
    sac = Aneurysm(centre=np.array([20.0, 30.0, 25.0]), diameter_mm=4.0)
    mask = np.zeros((40, 60, 50), dtype=bool)
    mask[:20] = True

    assert not measures.found(mask, sac, SIZES)
    mask[20] = True
    assert measures.found(mask, sac, SIZES)


def test_widths_of_a_straight_vessel_are_its_diameter() -> None:
    tree = Tree()
    line = np.stack([np.full(30, 20.0), np.full(30, 30.0), np.linspace(5.0, 45.0, 30)], axis=1)
    tree.put(line, np.full(30, 1.5), 10.0)

    seen = measures.widths([_tube(1.5), 2.0 * _tube(1.5)], tree, SIZES, np.random.default_rng(0))

    assert len(seen) > 5
    assert seen[:, 0] == pytest.approx(3.0, abs=0.25)
    assert seen[:, 1] == pytest.approx(seen[:, 0], abs=1e-4)  # brightness is no width


def test_interpolations_keep_what_they_must() -> None:
    ramp = np.arange(10, dtype=np.float32).reshape(-1, 1, 1)
    at = (np.arange(40) + 0.5) / 4 - 0.5

    assert nearest(ramp, 3)[:, 0, 0] == pytest.approx(np.repeat(np.arange(10), 3))
    assert linear(ramp, 4)[2:-2, 0, 0] == pytest.approx(at[2:-2], abs=1e-5)
    assert cubic(ramp, 4)[8:-8, 0, 0] == pytest.approx(at[8:-8], abs=1e-5)


@pytest.mark.parametrize("profile", list(Profile))
def test_back_projection_brings_the_result_closer_to_the_slices(profile: Profile) -> None:
    known = Acquisition(profile=profile, spacing_mm=4.0, width_mm=4.0)
    signal = 0.3 + 0.6 * np.repeat(np.repeat(_tube()[:, 28:32, :2], 1, axis=0), 5, axis=0)
    thick = acquired(signal.astype(np.float32), known, 0.4, 20, np.random.default_rng(0))
    down = encoding(known, 80, 1.0, 20).real

    def residual(made: np.ndarray) -> float:
        return float(np.abs(np.tensordot(down, made, axes=1) - thick).mean())

    plain = residual(cubic(thick, 4))
    assert residual(back_projected(thick, known, 4, 1)) < plain
    assert residual(back_projected(thick, known, 4, 6)) < 0.5 * plain
