"""The classical filters that a network has to beat, on what they must do."""

import numpy as np
import pytest

from engines.kernel import Kernel, apply_gain, convert_linear, radial
from engines.training.baselines import BASELINES, Baseline, Example, bilateral, fit_radial, identity, tune
from engines.training.measures import rmse

RNG = np.random.default_rng(9)


def step_and_noise() -> tuple[np.ndarray, np.ndarray]:
    clean = np.zeros((96, 96), dtype=np.float32)
    clean[:, 48:] = 300.0
    return clean, clean + RNG.normal(0.0, 20.0, clean.shape).astype(np.float32)


def test_the_bilateral_filter_smooths_beside_an_edge_and_keeps_it() -> None:
    clean, noisy = step_and_noise()

    made = bilateral(2.0, 3.0)(noisy, 20.0)

    assert np.std((made - clean)[:, 8:40]) < 0.5 * 20.0
    assert np.abs(made - clean)[:, 46:50].mean() < 20.0


def test_doing_nothing_changes_nothing() -> None:
    _, noisy = step_and_noise()

    assert np.array_equal(identity()(noisy, 20.0), noisy)


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_every_filter_tuned_lowers_the_error(baseline: Baseline) -> None:
    pytest.importorskip("skimage", reason="scikit-image is only in the extra `train`")
    clean, noisy = step_and_noise()
    example = Example(noisy=noisy, clean=clean, inside=np.ones(clean.shape, dtype=bool), sd_hu=20.0)

    strength = tune(baseline, [example])

    assert strength in list(baseline.strengths)
    assert rmse(baseline.build(*strength)(noisy, 20.0), clean, example.inside) < 20.0


def test_tuning_takes_the_strength_with_the_smallest_error() -> None:
    clean, noisy = step_and_noise()
    shift = Baseline(
        name="shift",
        build=lambda hu: lambda image, sd_hu: np.asarray(image + hu, dtype=np.float32),
        strengths=[(30.0,), (-5.0,), (0.0,), (9.0,)],
    )

    example = Example(noisy=noisy, clean=clean, inside=np.ones(clean.shape, dtype=bool), sd_hu=20.0)

    assert tune(shift, [example]) == (0.0,)


def objects(pixel_mm: float, kernel: Kernel, seed: int) -> np.ndarray:
    """Random texture in air, as a kernel shows it."""
    rng = np.random.default_rng(seed)
    image = np.full((128, 128), -1000.0, dtype=np.float32)
    image[24:104, 24:104] = rng.normal(0.0, 200.0, (80, 80))
    return apply_gain(image, kernel(radial(image.shape, pixel_mm, 16)), 16)


def test_the_fitted_filter_finds_the_ratio_of_two_curves() -> None:
    soft, sharp = Kernel(cutoff=0.9), Kernel(cutoff=1.6, boost=0.5)
    samples = [(objects(0.5, sharp, seed), objects(0.5, soft, seed), 0.5) for seed in range(3)]

    fitted = fit_radial(samples)

    at = np.linspace(0.05, 0.8, 20)
    assert np.interp(at, fitted.frequency, fitted.gain) == pytest.approx(soft(at) / sharp(at), abs=0.02)
    new, wanted = objects(0.5, sharp, 7), objects(0.5, soft, 7)
    everywhere = np.ones(new.shape, dtype=bool)
    assert rmse(fitted(new, 0.5), wanted, everywhere) < 0.05 * rmse(new, wanted, everywhere)


def test_the_fitted_filter_is_as_good_as_the_one_from_the_curves_also_with_noise() -> None:
    """Least squares cannot be worse than a filter of the same family, where it was fitted."""
    soft, sharp = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)
    samples = []
    for seed in range(4):
        noise = np.random.default_rng([seed, 1]).normal(0.0, 2.0, (2, 128, 128)).astype(np.float32)
        samples.append((objects(0.6, soft, seed) + noise[0], objects(0.6, sharp, seed) + noise[1], 0.6))
    fitted = fit_radial(samples)
    inside = np.zeros((128, 128), dtype=bool)
    inside[24:104, 24:104] = True

    ours, blind = (
        np.mean([rmse(method(source), target, inside) for source, target, _ in samples])
        for method in (lambda image: fitted(image, 0.6), lambda image: convert_linear(image, soft, sharp, 0.6))
    )

    assert ours <= blind * 1.01


def test_nothing_to_fit_to_is_said() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        fit_radial([])
