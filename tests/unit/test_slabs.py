"""Thin slices and the slabs that they fill: what is exact stays exact, for every factor and every image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engines.slabs import (
    FACTORS,
    area_weights,
    averaged,
    consistent,
    cubic_weights,
    fourier_consistent,
    fourier_seen,
    rounded,
    to_factor,
    tof_unit,
)

factors = st.sampled_from(FACTORS)
signal = st.floats(-0.5, 3.0, width=32)
Volume = NDArray[np.float32]


@given(arrays(np.float32, (8, 3, 4), elements=signal), factors)
def test_thin_slices_at_any_factor_keep_the_mean_over_the_slab(thin: Volume, factor: int) -> None:
    made = to_factor(thin, factor)

    assert made.shape == (factor, 3, 4)
    assert np.abs(made.mean(axis=0, dtype=np.float64) - thin.mean(axis=0, dtype=np.float64)).max() < 1e-6


def test_three_of_eight_are_averages_of_what_lies_in_them() -> None:
    thin = np.arange(8, dtype=np.float32).reshape(8, 1, 1)

    # The first third holds slices 0, 1 and two thirds of 2.
    assert to_factor(thin, 3).ravel() == pytest.approx([3 / 8 * (0 + 1 + 2 * 2 / 3), 3.5, 3 / 8 * (5 * 2 / 3 + 6 + 7)])
    assert np.array_equal(to_factor(thin, 4).ravel(), [0.5, 2.5, 4.5, 6.5])
    with pytest.raises(ValueError, match="8 thin slices cannot be made into 9"):
        to_factor(thin, 9)


@given(factors, arrays(np.float32, (2, 3), elements=st.floats(0.0, 3.0, width=32)), st.data())
def test_consistent_slices_have_the_slab_as_their_mean_and_nothing_below_zero(
    factor: int, slab: Volume, data: st.DataObject
) -> None:
    thin = data.draw(arrays(np.float32, (factor, 2, 3), elements=signal))

    made = consistent(thin, slab)

    assert made.min() >= 0.0
    assert np.abs(made.mean(axis=0, dtype=np.float64) - slab).max() < 2e-6


@given(arrays(np.float32, (4, 2, 3), elements=st.floats(1.0, 2.0, width=32)))
def test_slices_that_are_consistent_stay_as_they_are(thin: Volume) -> None:
    assert np.abs(consistent(thin, thin.mean(axis=0)) - thin).max() < 1e-6


def test_below_zero_only_as_much_is_changed_as_must_be() -> None:
    thin = np.array([-1.0, 0.0, 1.0, 4.0], dtype=np.float32).reshape(4, 1, 1)

    made = consistent(thin, np.array([[1.0]], dtype=np.float32)).ravel()

    assert made == pytest.approx([0.0, 0.0, 0.5, 3.5])  # the point of the simplex nearest to it
    assert consistent(thin, np.array([[-1.0]], dtype=np.float32)).ravel() == pytest.approx([-3.0, -2.0, -1.0, 2.0])


@given(arrays(np.int32, (3, 4), elements=st.integers(0, 4095)), factors, st.sampled_from([1.0, 0.25, 1.7]), st.data())
def test_rounded_slices_average_to_the_stored_slab_exactly(
    stored: NDArray[np.int32], factor: int, step: float, data: st.DataObject
) -> None:
    slab = (stored * step).astype(np.float32)
    thin = consistent(data.draw(arrays(np.float32, (factor, 3, 4), elements=st.floats(0.0, 4095.0, width=32))), slab)

    made = rounded(thin, step)

    units = np.rint(made / step).astype(np.int64)
    assert np.allclose(units * step, made, rtol=1e-6)
    assert np.array_equal(units.sum(axis=0), factor * stored)
    assert made.min() >= 0.0
    assert np.abs(made - thin).max() < step * 1.01


@given(arrays(np.float32, (5, 2, 2), elements=signal), factors)
def test_rounding_moves_a_mean_by_half_a_step_over_the_factor_at_most(thin: Volume, factor: int) -> None:
    thin = thin[:factor]

    off = rounded(thin, 0.5).mean(axis=0, dtype=np.float64) - thin.mean(axis=0, dtype=np.float64)

    assert np.abs(off).max() <= 0.25 / len(thin) + 1e-6


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="A step of 0 rounds nothing"):
        rounded(np.ones((2, 1, 1), dtype=np.float32), 0.0)


@pytest.mark.parametrize("factor", FACTORS)
def test_cubic_weights_follow_a_straight_line_and_a_parabola(factor: int) -> None:
    at = (np.arange(factor) + 0.5) / factor - 0.5
    near = np.arange(-2, 3)

    assert cubic_weights(factor).sum(axis=1) == pytest.approx(np.ones(factor))
    assert cubic_weights(factor) @ near == pytest.approx(at)
    assert cubic_weights(factor) @ near**2 == pytest.approx(at**2)  # Keys: exact to the second order


@pytest.mark.parametrize("factor", FACTORS)
def test_area_weights_fill_the_slab(factor: int) -> None:
    weights = area_weights(factor)

    assert weights.sum(axis=1) == pytest.approx(np.ones(factor))
    assert weights.sum(axis=0) == pytest.approx(np.full(8, factor / 8))


@given(arrays(np.float32, (24, 2, 3), elements=signal), factors)
def test_measured_frequencies_come_back_as_they_were(volume: Volume, factor: int) -> None:
    count = 24 // factor
    rng = np.random.default_rng(0)
    source = rng.uniform(0.0, 1.0, (count, 2, 3)).astype(np.float32)
    low = np.fft.rfft(source, axis=0)
    low[(count + 1) // 2 :] = 0.0  # at Nyquist a sample does not tell the phase
    volume = volume[: factor * count]

    made = fourier_consistent(volume, source, factor)

    assert np.abs(fourier_seen(made, factor) - np.fft.irfft(low, count, axis=0)).max() < 1e-5


@pytest.mark.parametrize("factor", FACTORS)
def test_a_wave_that_was_measured_comes_out_at_the_thin_slices_places(factor: int) -> None:
    slabs, thin = np.arange(12.0), (np.arange(12 * factor) + 0.5) / factor - 0.5

    def wave(at: NDArray[np.float64]) -> Volume:
        return (1.0 + np.cos(2 * np.pi * 3 * at / 12 + 0.4)).reshape(-1, 1, 1).astype(np.float32)

    made = fourier_consistent(np.zeros((12 * factor, 1, 1), dtype=np.float32), wave(slabs), factor)

    assert np.abs(made - wave(thin)).max() < 1e-5
    assert np.abs(averaged(made, factor) - wave(slabs)).max() > 0.01  # an average is not what such a scanner measures


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="9 thin slices are not 2 for each of 4"):
        fourier_consistent(np.ones((9, 1, 1), np.float32), np.ones((4, 1, 1), np.float32), 2)


def test_the_unit_is_that_of_the_arteries_in_whatever_scale() -> None:
    rng = np.random.default_rng(0)
    head = rng.normal(250.0, 30.0, (20, 64, 64))
    head[:, :, :24] = rng.uniform(0.0, 5.0, (20, 64, 24))  # air
    head[:, 30:33, 40:43] = 1000.0  # 0.35 % of the head

    assert tof_unit(head) == pytest.approx(1000.0, rel=0.01)
    assert tof_unit(head * 0.37) == pytest.approx(370.0, rel=0.01)
    head[0, 0, 50] = 1e6  # one voxel sets nothing
    assert tof_unit(head) == pytest.approx(1000.0, rel=0.01)


@pytest.mark.parametrize(("voxels", "said"), [(np.zeros((2, 2, 2)), "no head"), (np.full((2, 2, 2), np.nan), "finite")])
def test_a_volume_without_brightness_has_no_unit(voxels: NDArray[np.float64], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tof_unit(voxels)
