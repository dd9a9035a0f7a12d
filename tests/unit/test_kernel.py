"""Kernels as curves, and the linear conversion between two of them."""

import numpy as np
import pytest

from engines.kernel import Kernel, Mixture, apply_gain, convert_linear, descriptor, linear_gain, radial
from engines.training.kernel_pairs import Exposure, expose, make_pair, mixed, random_kernels, with_white

SOFT, SHARP = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.6)


@pytest.mark.parametrize("kernel", [SOFT, SHARP, Kernel(cutoff=1.9, boost=1.0, boost_at=0.45, boost_width=0.35)])
def test_every_kernel_shows_water_as_water(kernel: Kernel) -> None:
    assert kernel(np.array([0.0]))[0] == pytest.approx(1.0)
    assert kernel(np.array([kernel.cutoff, 3.0])) == pytest.approx([0.0, 0.0])


def test_the_half_of_a_hann_window_lies_at_half_its_cutoff() -> None:
    assert SOFT.frequency_at(0.5) == pytest.approx(0.425, abs=0.001)


def test_the_pairs_ratio_covers_that_of_the_real_phantom() -> None:
    """NETWORKS C1: gain of Philips UB over YA, measured on the same raw data; here within 20 %."""
    frequency = np.array([0.10, 0.21, 0.31, 0.42, 0.52, 0.63])
    measured = np.array([0.90, 0.71, 0.49, 0.31, 0.18, 0.11])
    soft, sharp = Kernel(cutoff=0.834), Kernel(cutoff=1.9, boost=1.0, boost_at=0.5, boost_width=0.243)

    assert soft(frequency) / sharp(frequency) == pytest.approx(measured, rel=0.2)


def test_a_conversion_to_the_same_kernel_changes_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    frequency = radial((96, 80), 0.7, 16)
    image = apply_gain(rng.normal(0, 30, (96, 80)).astype(np.float32), SHARP(frequency), 16)

    assert np.abs(convert_linear(image, SHARP, SHARP, 0.7) - image).max() < 1.0


def test_the_linear_filter_turns_a_sharp_image_into_the_soft_one() -> None:
    rng = np.random.default_rng(1)
    shown = rng.normal(40, 30, (128, 128)).astype(np.float32)
    frequency = radial(shown.shape, 0.7, 16)
    sharp, soft = (apply_gain(shown, kernel(frequency), 16) for kernel in (SHARP, SOFT))
    inner = (slice(24, -24), slice(24, -24))

    made = convert_linear(sharp, SHARP, SOFT, 0.7)

    assert np.std((made - soft)[inner]) < 0.1 * np.std((sharp - soft)[inner])


def test_what_the_source_kernel_lost_is_not_amplified() -> None:
    assert linear_gain(SOFT, SHARP, np.array([0.0]))[0] == pytest.approx(1.0)
    assert linear_gain(SOFT, SHARP, np.array([0.9, 1.2])) == pytest.approx([0.0, 0.0])
    assert np.max(linear_gain(SOFT, SHARP, np.linspace(0, 1.5, 500))) < 20


def test_the_network_is_told_both_curves_in_cycles_per_pixel() -> None:
    told = descriptor(SOFT, SHARP, 0.5)

    assert told.dtype == np.float32
    assert told[:6] == pytest.approx(SOFT(np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0])), abs=1e-6)
    assert told[6:12] == pytest.approx(SHARP(np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0])), abs=1e-6)
    assert told[12:] == pytest.approx([1.0, 1.0])


def _disc(side: int = 128) -> np.ndarray:
    place = np.arange(side) - (side - 1) / 2
    inside = np.hypot(place[:, None], place[None, :]) < side * 0.4
    return np.where(inside, 0.0, -1000.0).astype(np.float32)


def test_a_pair_shows_the_same_photons() -> None:
    clean = _disc()
    source, target = make_pair(clean, 1.5, SHARP, SOFT, soft_sd_hu=10.0, rng=np.random.default_rng(0))
    inside = (slice(48, 80), slice(48, 80))
    made = convert_linear(source, SHARP, SOFT, 1.5)

    assert np.std(target[inside]) == pytest.approx(10.0, rel=0.4)
    assert np.corrcoef(made[inside].ravel(), target[inside].ravel())[0, 1] > 0.6


def test_iterative_reconstruction_lowers_the_noise_and_leaves_the_anatomy() -> None:
    iterative = Kernel(cutoff=0.85, noise_kept=0.4)
    images = [
        make_pair(_disc(), 1.5, SHARP, soft, soft_sd_hu=10.0, rng=np.random.default_rng(0))[1]
        for soft in (SOFT, iterative)
    ]
    inside = (slice(48, 80), slice(48, 80))

    assert np.std(images[1][inside]) == pytest.approx(0.4 * np.std(images[0][inside]), rel=0.1)
    assert np.mean(images[1][inside]) == pytest.approx(np.mean(images[0][inside]), abs=1.0)


def test_another_exposure_shows_other_photons() -> None:
    one, _ = make_pair(_disc(), 1.5, SHARP, SOFT, soft_sd_hu=10.0, rng=np.random.default_rng(0))
    same, _ = make_pair(_disc(), 1.5, SHARP, SOFT, soft_sd_hu=10.0, rng=np.random.default_rng(0))
    other, _ = make_pair(_disc(), 1.5, SHARP, SOFT, soft_sd_hu=10.0, rng=np.random.default_rng(1))
    inside = (slice(48, 80), slice(48, 80))

    assert np.array_equal(one, same)
    assert abs(np.corrcoef(one[inside].ravel(), other[inside].ravel())[0, 1]) < 0.3


def test_a_mixture_of_two_kernels_has_the_mixture_of_their_noises() -> None:
    rng = np.random.default_rng(2)
    kernels = random_kernels(rng)
    clean = _disc(96)
    item = Exposure(group="disc", pixel_mm=1.0, clean=clean, noise=expose(clean, 1.0, kernels, rng), kernels=kernels)
    noise, curve = mixed(item, 0.25, sharp=True)

    assert noise == pytest.approx(0.75 * item.noise[2] + 0.25 * item.noise[3], abs=1e-5)
    assert isinstance(curve, Mixture)
    assert curve(np.array([0.4])) == pytest.approx(
        0.75 * kernels[2](np.array([0.4])) + 0.25 * kernels[3](np.array([0.4]))
    )


def test_white_noise_is_added_by_its_share() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 20, (200, 200)).astype(np.float32)
    added = with_white(noise, np.ones(noise.shape, dtype=bool), rng, 0.1) - noise

    assert np.std(added) == pytest.approx(2.0, rel=0.05)
