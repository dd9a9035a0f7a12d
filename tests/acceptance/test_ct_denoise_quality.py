"""The committed network beats a Gaussian and total variation on public slices it never saw.

numpy, Pillow and ONNX Runtime only. The truth is a cleaned slice of ../shared/data, the input the same slice with
noise made in projections (engines/training/physics.py). Both filters may pick, with the truth in hand, the best of
several strengths for every noise level; the network is told nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.ort import OrtEngine
from engines.store import load_spec
from engines.training.cache import unit_noise
from engines.training.detail import probe_field
from engines.training.sources import BODY, CHEST, LEG, SIEMENS, SOURCES, Role, Source, clean_slices
from pipelines.ct_denoise import CT_DENOISE
from pipelines.judging import check
from pipelines.run import infer
from pipelines.volume import Volume

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data, which is not here")

Image = NDArray[np.float32]
KERNELS = (Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5))  # soft and sharp
LEVELS_HU = (20.0, 40.0)
PICKED = {CHEST: 1, LEG: 2, SIEMENS: 1, BODY + "A056642": 1, BODY + "A058062": 1, BODY + "A062055": 1}
SIDE = 256  # of the square in the middle that is compared


@pytest.fixture(scope="module")
def engine() -> Iterator[OrtEngine]:
    with OrtEngine(load_spec("ct_denoise"), threads=2) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def slices() -> list[tuple[Image, list[Image]]]:
    """Clean slice and its noise for both kernels, SD 1 in the body; (y, x)."""
    made = []
    for source in SOURCES:
        if source.role is not Role.HELD_BACK or source.path not in PICKED:
            continue
        for index, clean in clean_slices(_some(source, PICKED[source.path]), DATA):
            rng = np.random.default_rng([len(source.name), index])
            noise = unit_noise(clean, source.pixel_mm, KERNELS, rng)
            start = (clean.shape[0] - min(SIDE, clean.shape[0])) // 2
            cut = (slice(start, start + SIDE), slice(start, start + SIDE))
            body = clean > -500.0
            made.append((clean[cut], [(image / image[body].std())[cut] for image in noise]))
    assert len(made) == sum(PICKED.values())
    return made


@pytest.mark.parametrize("kernel", [0, 1], ids=["soft", "sharp"])
@pytest.mark.parametrize("level_hu", LEVELS_HU)
def test_the_network_beats_the_best_gaussian_and_the_best_total_variation(
    engine: OrtEngine, slices: list[tuple[Image, list[Image]]], kernel: int, level_hu: float
) -> None:
    pairs = [(clean, noisy(clean, noise[kernel], level_hu)) for clean, noise in slices]

    ours = mean_rmse(pairs, lambda image: denoised(engine, image))
    untouched = mean_rmse(pairs, lambda image: image)
    blurred = min(mean_rmse(pairs, lambda image, s=s: gaussian(image, s)) for s in (0.5, 0.7, 0.9, 1.2, 1.6))
    flattened = min(
        mean_rmse(pairs, lambda image, w=w: total_variation(image, w * level_hu)) for w in (0.3, 0.6, 1.0, 1.6, 2.4)
    )

    print(f"RMSE HU: input {untouched:.2f}, Gaussian {blurred:.2f}, TV {flattened:.2f}, network {ours:.2f}")
    assert ours < untouched
    assert ours < blurred
    assert ours < flattened


@pytest.mark.parametrize(("radius", "least"), [(3.0, 0.70), (6.0, 0.85)])
def test_small_lesions_keep_their_contrast(
    engine: OrtEngine, slices: list[tuple[Image, list[Image]]], radius: float, least: float
) -> None:
    """NETWORKS E-6: 30 HU disks set into flat soft tissue at 20 HU noise."""
    kept = []
    for number, (clean, noise) in enumerate(slices):
        image = noisy(clean, noise[0], 20.0)
        probe = probe_field(np.random.default_rng(number), clean, clean.shape[0], radius, 30.0)
        place = np.abs(probe) > 15.0
        if np.any(place):
            change = denoised(engine, (image + probe).astype(np.float32)) - denoised(engine, image)
            kept.append(np.mean((change * np.sign(probe))[place]) / np.mean(np.abs(probe[place])))

    print(f"kept of r = {radius:g} px: {np.mean(kept):.2f} over {len(kept)} slices")
    assert len(kept) >= 4
    assert np.mean(kept) >= least


def test_the_soft_tissue_mean_stays_within_1_hu(engine: OrtEngine, slices: list[tuple[Image, list[Image]]]) -> None:
    shifts = []
    for clean, noise in slices:
        inside = (clean > -20.0) & (clean < 120.0)
        if np.count_nonzero(inside) > 500:
            shifts.append(np.mean((denoised(engine, noisy(clean, noise[0], 20.0)) - clean)[inside]))

    assert abs(np.mean(shifts)) <= 1.0


def test_the_checks_pass_the_network_on_slices_it_never_saw(
    engine: OrtEngine, slices: list[tuple[Image, list[Image]]]
) -> None:
    for clean, noise in slices:
        for kernel in range(len(KERNELS)):
            for level_hu in (10.0, 20.0, 40.0):
                voxels = noisy(clean, noise[kernel], level_hu)[None]
                source = Volume(voxels=voxels, affine=np.eye(4), unit="HU")
                result = infer(CT_DENOISE, engine, source, progress=lambda done, total: None)
                report = check(CT_DENOISE, engine, source, result)
                assert not report.held, [finding.text for finding in report.failed]


def _some(source: Source, count: int) -> Source:
    step = max(len(source.slices) // (count + 1), 1)
    return Source(**{**vars(source), "slices": source.slices[step::step][:count]})


def noisy(clean: Image, unit: Image, level_hu: float) -> Image:
    return np.clip(clean + unit * np.float32(level_hu), -1024.0, 3071.0).astype(np.float32)


def denoised(engine: OrtEngine, image: Image) -> Image:
    made: Image = engine.infer({"hu": image[None, None]})["denoised"][0, 0]
    return made


def mean_rmse(pairs: list[tuple[Image, Image]], method: Callable[[Image], Image]) -> float:
    """Mean over slices of the RMSE inside the body, HU."""
    return float(
        np.mean([np.sqrt(np.mean(np.square(method(image) - clean)[clean > -500.0])) for clean, image in pairs])
    )


def gaussian(image: Image, sigma: float) -> Image:
    """Separable Gaussian; the border repeats."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    wide = np.pad(image, radius, mode="edge")
    y, x = image.shape
    rows = sum(tap * wide[:, step : step + x] for step, tap in enumerate(taps))
    return np.asarray(sum(tap * rows[step : step + y] for step, tap in enumerate(taps)), dtype=np.float32)


def total_variation(image: Image, weight: float, *, rounds: int = 100) -> Image:
    """Chambolle's projection (2004): minimises |u - image|^2 / 2 + weight TV(u)."""
    down, right = np.zeros_like(image), np.zeros_like(image)
    made = image
    for _ in range(rounds):
        step_down, step_right = np.zeros_like(image), np.zeros_like(image)
        step_down[:-1] = made[1:] - made[:-1]
        step_right[:, :-1] = made[:, 1:] - made[:, :-1]
        # The sign convention: `made` is image minus divergence, so the dual climbs along minus its gradient.
        norm = 1.0 + np.hypot(step_down, step_right) * (0.25 / weight)
        down = (down - 0.25 * step_down) / norm
        right = (right - 0.25 * step_right) / norm
        divergence = -(down + right)
        divergence[1:] += down[:-1]
        divergence[:, 1:] += right[:, :-1]
        made = image + divergence
    return made.astype(np.float32)
