"""What an evaluation measures, against closed forms. numpy only."""

from pathlib import Path

import numpy as np
import pytest

from engines.kernel import Kernel, apply_gain, radial
from engines.training import measures
from engines.training.detail import disk
from engines.training.sources import SOURCES, Role

RNG = np.random.default_rng(5)


def test_the_noise_power_of_white_noise_is_flat_and_integrates_to_the_variance() -> None:
    noise = RNG.normal(0.0, 20.0, (200, 64, 64)).astype(np.float32)

    frequency, power = measures.noise_power(noise, 0.7)

    # White: SD^2 times the area of a pixel at every frequency.
    assert power[4:] == pytest.approx(20.0**2 * 0.7**2, rel=0.05)
    assert frequency[-1] == pytest.approx(0.5 / 0.7)


def test_the_noise_power_of_filtered_noise_is_the_square_of_the_filter() -> None:
    kernel = Kernel(cutoff=0.9)
    wide = RNG.normal(0.0, 10.0, (40, 192, 192)).astype(np.float32)
    gain = kernel(radial((192, 192), 0.8, 16))
    made = np.stack([apply_gain(image, gain, 16)[32:160, 32:160] for image in wide])
    blocks = made.reshape(-1, 2, 64, 2, 64).swapaxes(2, 3).reshape(-1, 64, 64)

    frequency, power = measures.noise_power(blocks, 0.8)

    inside = (frequency > 0.1) & (frequency < 0.5)
    assert power[inside] / (100.0 * 0.64) == pytest.approx(kernel(frequency[inside]) ** 2, abs=0.04)


def test_peak_and_centroid_of_a_known_spectrum() -> None:
    frequency = np.linspace(0.01, 0.6, 60)
    bell = np.exp(-0.5 * ((frequency - 0.23) / 0.08) ** 2)

    assert measures.peak_frequency(frequency, bell) == pytest.approx(0.23, abs=0.003)
    assert measures.centroid_frequency(frequency, bell) == pytest.approx(0.23, abs=0.01)


@pytest.mark.parametrize("sigma_px", [0.9, 1.4])
def test_the_mtf_of_a_disk_blurred_by_a_gaussian_is_the_gaussians(sigma_px: float) -> None:
    side, pixel_mm = 128, 0.5
    fine = 8  # the disk is drawn on a finer grid, so that its own pixels do not blur it
    axis = np.arange(side * fine) - (side * fine - 1) / 2.0
    sharp = (np.hypot(axis[:, None], axis[None, :]) < 30.0 * fine).astype(np.float32) * 100.0
    blocks = sharp.reshape(side, fine, side, fine).mean(axis=(1, 3)).astype(np.float32)
    image = measures.blurred(blocks, sigma_px)

    frequency, mtf = measures.disk_mtf(image, 30.0, pixel_mm)

    wanted = np.exp(-2.0 * (np.pi * sigma_px * pixel_mm * frequency) ** 2)
    assert mtf[frequency < 0.4] == pytest.approx(wanted[frequency < 0.4], abs=0.03)
    mtf50 = np.sqrt(np.log(2.0) / 2.0) / (np.pi * sigma_px * pixel_mm)
    assert measures.frequency_at(frequency, mtf, 0.5) == pytest.approx(mtf50, rel=0.05)


def test_a_disk_without_contrast_has_no_mtf() -> None:
    with pytest.raises(ValueError, match="no contrast"):
        measures.disk_mtf(np.zeros((96, 96), dtype=np.float32), 20.0, 0.5)


def test_the_observer_finds_the_dprime_that_theory_gives_in_white_noise() -> None:
    """In white noise d' is the norm of the part of the signal that the channels see, over the SD."""
    signal = disk(41, 20.0, 20.0, 3.0, 6.0).astype(np.float64)
    channels = measures.laguerre_gauss(41, 8.0)
    noise = RNG.normal(0.0, 20.0, (2, 3000, 41, 41)).astype(np.float32)
    basis, _ = np.linalg.qr(channels.reshape(len(channels), -1).T)
    wanted = float(np.linalg.norm(basis.T @ signal.ravel())) / 20.0

    found = measures.detectability(*measures.ratings(noise[0] + signal.astype(np.float32), noise[1], channels))

    assert found.dprime == pytest.approx(wanted, rel=0.06)
    # Gaussian ratings: AUC = Phi(d' / sqrt 2); Phi(1) = 0.8413 at d' = 1.4142.
    assert wanted > 1.0
    assert found.auc == pytest.approx(_phi(wanted / np.sqrt(2.0)), abs=0.015)


def _phi(z: float) -> float:
    from math import erf

    return 0.5 * (1.0 + erf(z / 2.0**0.5))


def test_the_observer_gains_nothing_from_the_same_images() -> None:
    noise = RNG.normal(0.0, 20.0, (2, 200, 41, 41)).astype(np.float32)
    ratings = measures.ratings(noise[0] + disk(41, 20, 20, 3.0, 10.0), noise[1], measures.laguerre_gauss(41, 8.0))

    assert measures.auc_gain(ratings, ratings).mean == 0.0


def test_the_area_under_the_curve_counts_pairs_and_ties_by_half() -> None:
    assert measures.auc(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx((1 + 1.5 + 2) / 6)


def test_channels_have_norm_one_and_laguerre_gauss_are_nearly_orthogonal() -> None:
    channels = measures.laguerre_gauss(61, 10.0).reshape(5, -1)

    assert channels @ channels.T == pytest.approx(np.eye(5), abs=0.02)
    assert np.linalg.norm(measures.gaussian_differences(41), axis=(1, 2)) == pytest.approx(1.0)


def test_white_noise_removed_everywhere_has_an_edge_flat_ratio_of_one_and_a_blur_far_more() -> None:
    clean = np.zeros((128, 128), dtype=np.float32)
    clean[:, 64:] = 200.0
    noisy = clean + RNG.normal(0.0, 10.0, clean.shape).astype(np.float32)
    everywhere = np.ones(clean.shape, dtype=bool)

    assert measures.edge_flat_ratio(noisy, clean, everywhere) == pytest.approx(1.0, abs=0.1)
    assert measures.edge_flat_ratio(noisy, measures.blurred(noisy, 2.0), everywhere) > 1.5


def test_half_a_probe_kept_is_a_contrast_of_a_half() -> None:
    probe = disk(64, 20.0, 20.0, 6.0, 20.0) - disk(64, 44.0, 44.0, 6.0, 20.0)

    assert measures.kept_contrast(0.5 * probe, probe) == pytest.approx(0.5, abs=1e-3)


def test_likeness_is_one_with_itself_and_falls_with_noise() -> None:
    image = measures.blurred(RNG.normal(40.0, 60.0, (96, 96)).astype(np.float32), 2.0)
    inside = np.ones(image.shape, dtype=bool)
    noisy = image + RNG.normal(0.0, 20.0, image.shape).astype(np.float32)

    assert measures.ssim(image, image, inside) == pytest.approx(1.0, abs=1e-6)
    assert measures.ssim(noisy, image, inside) < 0.8


def test_likeness_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is only in the extra `train`")
    image = measures.blurred(RNG.normal(40.0, 60.0, (96, 96)).astype(np.float32), 2.0)
    noisy = image + RNG.normal(0.0, 20.0, image.shape).astype(np.float32)
    low, high = measures.WINDOW_HU
    _, every = metrics.structural_similarity(
        np.clip(noisy, low, high),
        np.clip(image, low, high),
        data_range=high - low,
        full=True,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )

    assert measures.ssim(noisy, image, np.ones(image.shape, dtype=bool)) == pytest.approx(every.mean(), abs=2e-3)


def test_the_flat_noise_of_white_noise_is_near_its_sd() -> None:
    noise = RNG.normal(0.0, 12.0, (256, 256)).astype(np.float32)

    # The flattest tenth is a little below the mean.
    assert measures.flat_noise(noise, np.ones(noise.shape, dtype=bool)) == pytest.approx(12.0, rel=0.2)


def test_an_interval_holds_the_mean_and_narrows_with_n() -> None:
    few, many = (measures.interval(list(RNG.normal(3.0, 1.0, n))) for n in (10, 1000))

    assert many.low < 3.0 < many.high
    assert many.high - many.low == pytest.approx(4 * 0.98 / np.sqrt(1000), rel=0.15)
    assert many.high - many.low < few.high - few.low


def test_alike_items_of_one_volume_count_as_one() -> None:
    values = [float(group) for group in RNG.normal(0.0, 1.0, 6) for _ in range(50)]
    groups = [str(group) for group in range(6) for _ in range(50)]

    apart, together = measures.interval(values), measures.interval(values, groups)

    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_a_ratio_is_that_of_the_means() -> None:
    found = measures.ratio_interval([1.0, 3.0, 2.0], [2.0, 6.0, 4.0], ["a", "b", "b"])

    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 3)


def test_nothing_to_average_is_said() -> None:
    with pytest.raises(ValueError, match="No item"):
        measures.interval([])


def test_the_emphysema_index_counts_pixels_below_the_limit() -> None:
    assert measures.emphysema_index(np.array([-1000.0, -951.0, -950.0, -900.0], dtype=np.float32)) == 50.0


def test_forty_slices_and_more_are_held_back_none_of_them_beside_a_trained_one() -> None:
    held = {(s.path, i) for s in SOURCES if s.role is Role.HELD_BACK for i in s.slices}
    used = {(s.path, i) for s in SOURCES if s.role is not Role.HELD_BACK for i in s.slices}

    assert len(held) >= 40
    assert not [item for item in held for step in range(-2, 3) if (item[0], item[1] + step) in used]


def test_the_judging_slices_are_no_part_of_any_training_cache() -> None:
    """`cache.build` and `kernel_pairs.build` read roles, not lists of their own."""
    folder = Path(__file__).parents[2] / "engines" / "training"
    for name in ("cache.py", "kernel_pairs.py"):
        assert "role is not Role.HELD_BACK" in (folder / name).read_text(encoding="utf-8")
