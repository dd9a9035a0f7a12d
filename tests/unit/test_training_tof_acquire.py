"""Slice encoding against closed forms: averages, the Dirichlet kernel, profile widths, the noise floor."""

from dataclasses import replace

import numpy as np
import pytest

from engines.training.tof_acquire import (
    Acquisition,
    Profile,
    acquired,
    colouring,
    drawn,
    encoding,
    overlap,
    slab_steps,
    thin,
)

FOURIER = Acquisition(profile=Profile.FOURIER, spacing_mm=4.0, width_mm=4.0)
BOX = Acquisition(profile=Profile.BOX, spacing_mm=4.0, width_mm=4.0)


def test_a_box_as_wide_as_the_spacing_averages_the_fine_voxels_of_its_slab() -> None:
    signal = np.random.default_rng(0).random((60, 3, 4)).astype(np.float32)

    made = acquired(signal, BOX, 0.4, 6, np.random.default_rng(0))

    assert made == pytest.approx(signal.reshape(6, 10, 3, 4).mean(axis=1), abs=1e-5)


def test_a_box_that_overlaps_its_neighbours_averages_them_too() -> None:
    matrix = encoding(replace(BOX, width_mm=4.8), 60, 0.4, 6).real

    assert np.count_nonzero(matrix[2] > 1e-9) in (12, 13)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(6))


@pytest.mark.parametrize("width_mm", [3.2, 4.0, 4.8])
def test_a_gaussian_profile_is_as_wide_at_half_height_as_it_says(width_mm: float) -> None:
    row = encoding(Acquisition(profile=Profile.GAUSS, spacing_mm=4.0, width_mm=width_mm), 600, 0.1, 15).real[7]
    high = np.flatnonzero(row >= row.max() / 2.0)

    assert (high[-1] - high[0] + 1) * 0.1 == pytest.approx(width_mm, abs=0.11)


@pytest.mark.parametrize("slabs", [9, 10])
def test_a_point_in_a_fourier_scan_is_a_dirichlet_kernel(slabs: int) -> None:
    fine, at = 10 * slabs, 43
    signal = np.zeros((fine, 1, 1), dtype=np.float32)
    signal[at] = 1.0

    made = acquired(signal, FOURIER, 0.4, slabs, np.random.default_rng(0)).ravel()

    away = ((np.arange(slabs) + 0.5) * 4.0 - (at + 0.5) * 0.4) / (slabs * 4.0)
    closed = np.abs(np.sin(np.pi * slabs * away) / np.sin(np.pi * away)) / fine
    assert made == pytest.approx(closed, abs=1e-6)


def test_a_wave_below_the_limit_comes_through_a_fourier_scan_as_it_was_and_one_above_does_not() -> None:
    at = (np.arange(100) + 0.5) * 0.4

    def seen(cycles: int) -> np.ndarray:
        wave = (1.0 + 0.5 * np.cos(2 * np.pi * cycles * at / 40.0)).astype(np.float32).reshape(-1, 1, 1)
        return acquired(wave, FOURIER, 0.4, 10, np.random.default_rng(0)).ravel()

    centres = (np.arange(10) + 0.5) * 4.0
    assert seen(3) == pytest.approx(1.0 + 0.5 * np.cos(2 * np.pi * 3 * centres / 40.0), abs=1e-5)
    assert seen(7) == pytest.approx(np.ones(10), abs=1e-5)


def test_an_edge_in_a_fourier_scan_overshoots_by_gibbs_and_less_with_a_filter() -> None:
    edge = np.repeat([0.0, 1.0, 0.0], [312, 600, 288]).astype(np.float32).reshape(-1, 1, 1)
    rng = np.random.default_rng(0)

    plain = acquired(edge, replace(FOURIER, spacing_mm=10.0), 0.4, 48, rng)
    filtered = acquired(edge, replace(FOURIER, spacing_mm=10.0, hamming=True), 0.4, 48, rng)

    assert plain.max() == pytest.approx(1.089, abs=0.01)  # a sample lies on the crest, one spacing from the edge
    assert filtered.max() < 1.02


def test_a_quarter_of_k_space_left_out_blurs_a_point() -> None:
    def width(partial: float) -> float:
        row = np.abs(encoding(replace(FOURIER, partial=partial), 1600, 0.1, 40)[20])
        return float(np.count_nonzero(row > row.max() / 2.0) * 0.1)

    assert width(1.0) == pytest.approx(1.207 * 4.0, rel=0.03)  # the half width of |sinc| is 1.207 of its zero
    assert width(0.75) == pytest.approx(1.207 * 4.0 / 0.75, rel=0.03)


def test_air_has_the_mean_of_rayleigh_and_bright_blood_its_own() -> None:
    air = np.zeros((40, 64, 64), dtype=np.float32)
    noisy = replace(BOX, noise=0.05)

    floor = acquired(air, noisy, 0.4, 4, np.random.default_rng(0))
    bright = acquired(air + 1.0, noisy, 0.4, 4, np.random.default_rng(0))

    assert floor.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2.0), rel=0.02)
    assert bright.mean() == pytest.approx(np.sqrt(1.0 + 0.05**2), abs=0.002)
    assert bright.std() == pytest.approx(0.05, rel=0.03)


def test_the_noise_of_a_filtered_scan_is_filtered_with_it() -> None:
    full, soft = colouring(FOURIER, 12), colouring(replace(FOURIER, hamming=True), 12)

    assert full == pytest.approx(np.eye(12), abs=1e-9)
    kept = (0.54 + 0.46 * np.cos(2.0 * np.pi * (np.arange(12) - 6) / 12)) ** 2
    assert (np.abs(soft) ** 2).sum(axis=1) == pytest.approx(np.full(12, kept.mean()))


def test_thin_truth_is_the_average_over_its_own_length_and_adds_up_to_the_slab() -> None:
    signal = np.random.default_rng(0).random((60, 2, 3)).astype(np.float32)

    made = thin(signal, 0.4, 4.0, 3, range(1, 5))

    edges = overlap(np.array([4.0, 4.0 + 4.0 / 3.0]), 60, 0.4)
    assert made.shape == (12, 2, 3)
    assert made[0] == pytest.approx(np.tensordot(edges[0], signal, axes=1), abs=1e-6)
    assert made.reshape(4, 3, 2, 3).mean(axis=1) == pytest.approx(
        signal.reshape(6, 10, 2, 3)[1:5].mean(axis=1), abs=1e-5
    )


def test_drawn_scans_are_of_both_kinds_and_of_the_noise_that_is_said() -> None:
    rng = np.random.default_rng(0)
    many = [drawn(rng, 4.0) for _ in range(400)]

    assert {one.profile for one in many} == set(Profile)
    assert 0.4 < np.mean([one.profile is Profile.FOURIER for one in many]) < 0.6
    assert all(1.0 / 120.0 <= one.noise <= 1.0 / 30.0 for one in many)
    boxes = [one.width_mm for one in many if one.profile is Profile.BOX]
    assert min(boxes) >= 4.0  # overlap, never a gap
    assert max(boxes) <= 4.0 / 0.7 + 1e-9


def test_slab_steps_fall_by_ten_to_thirty_per_cent() -> None:
    gains = [slab_steps(np.random.default_rng(k), 2000, 0.4, 4.0) for k in range(40)]
    stepped = [gain for gain in gains if gain.min() < 1.0]

    assert 10 < len(stepped) < 40
    assert all(0.7 <= gain.min() <= 0.91 for gain in stepped)
