"""Measuring kernels: noise that was made with a known kernel gives that kernel back, and the real pair its own."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel, apply_gain, radial
from engines.training.physics import Scanner, noise_images
from node.settings import parse
from pipelines.kernel_curves import NotMeasurable, against, from_noise
from pipelines.volume import Volume
from tests.running_node import cli
from tests.unit.test_settings import GOOD

SIZE, PIXEL_MM, SLICES = 256, 0.6, 2
SOFT, SHARP = Kernel(cutoff=0.8), Kernel(cutoff=1.5, boost=0.5)


def volume(voxels: NDArray[np.float32]) -> Volume:
    return Volume(voxels=voxels, affine=np.diag([1.0, PIXEL_MM, PIXEL_MM, 1.0]), unit="HU")


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    """A water disc with a dense rim through both kernels, from the same photons; (soft, sharp)."""
    y, x = np.ogrid[-1.0 : 1.0 : SIZE * 1j, -1.0 : 1.0 : SIZE * 1j]
    radius = np.hypot(y, x)
    object_hu = np.where(radius < 0.8, 0.0, np.where(radius < 0.86, 600.0, -1000.0)).astype(np.float32)
    rng = np.random.default_rng(8)
    scanner = Scanner(size=SIZE, pixel_mm=PIXEL_MM)
    made: tuple[list[NDArray[np.float32]], ...] = ([], [])
    for _ in range(SLICES):
        noise = noise_images(scanner, object_hu, (SOFT, SHARP), photons=2e5, rng=rng)
        for kernel, image, images in zip((SOFT, SHARP), noise, made, strict=True):
            images.append(apply_gain(object_hu, kernel(radial(object_hu.shape, PIXEL_MM, 16)), 16) + image)
    return volume(np.stack(made[0])), volume(np.stack(made[1]))


def deviation(found: Kernel, true: Kernel) -> float:
    """The largest difference of the curves where either shows anything, as gain, after scaling at 0.3 per mm."""
    at = np.linspace(0.2, 0.65, 20)
    scale = float(true(np.array([0.3]))[0] / found(np.array([0.3]))[0])
    return float(np.max(np.abs(found(at) * scale - true(at))))


def test_the_noise_of_a_flat_part_gives_the_shape_of_the_kernel(pair: tuple[Volume, Volume]) -> None:
    for series, true in zip(pair, (SOFT, SHARP), strict=True):
        found = from_noise(series)

        assert deviation(found.kernel, true) < 0.12, found.kernel
        assert found.off < 0.25
        assert found.blocks >= 40


def test_a_reference_gives_the_curve_itself(pair: tuple[Volume, Volume]) -> None:
    soft, sharp = pair

    assert against(soft, sharp, SHARP).kernel.cutoff == pytest.approx(0.8, abs=0.03)
    at = np.linspace(0.1, 0.5, 9)  # above, the soft reference shows next to nothing
    assert np.max(np.abs(against(sharp, soft, SOFT).kernel(at) / SHARP(at) - 1.0)) < 0.08


def test_a_reference_tells_how_much_noise_was_kept(pair: tuple[Volume, Volume]) -> None:
    soft, sharp = pair
    mean = soft.voxels.mean(axis=0, keepdims=True)
    # The disc is the same in both slices: half of their difference is noise alone.
    quieter = volume((soft.voxels - np.float32(0.4) * (soft.voxels - mean)).astype(np.float32))

    assert against(soft, sharp, SHARP).kernel.noise_kept == 1.0
    assert 0.6 < against(quieter, sharp, SHARP).kernel.noise_kept < 0.95


def test_what_cannot_be_measured_is_said(pair: tuple[Volume, Volume]) -> None:
    soft, sharp = pair
    small = Volume(voxels=sharp.voxels[:, :128], affine=sharp.affine, unit="HU")
    noise = volume(np.random.default_rng(1).normal(0.0, 20.0, soft.voxels.shape).astype(np.float32))

    with pytest.raises(NotMeasurable, match="do not lie on one grid"):
        against(soft, small, SHARP)
    with pytest.raises(NotMeasurable, match="show different things"):
        against(soft, noise, SHARP)
    with pytest.raises(NotMeasurable, match=r"0 flat blocks .* Take a water phantom\."):
        from_noise(volume(np.full(soft.voxels.shape, -1000.0, np.float32)))


def test_the_command_finds_ub_from_ya_and_its_table_is_a_setting(shared_data: Path) -> None:
    soft, sharp = (shared_data / "dicom" / f"ct_headphantom_philips_{name}" for name in ("UB", "YA"))

    status, said, trouble = cli("kernels", "measure", soft, "--reference", sharp, "--json")

    assert status == 0, trouble
    found = json.loads(said)
    assert (found["kernel"], found["manufacturer"], found["against"]) == ("UB", "Philips", "YA")
    assert found["curve"]["cutoff_per_mm"] == pytest.approx(0.83, abs=0.03)
    assert 0.6 <= found["curve"]["noise_kept"] <= 0.85
    table = {
        "manufacturer": "Philips",
        "names": ["UB"],
        "measured_on": "the head phantom, by this test",
        **found["curve"],
    }
    assert parse({**GOOD, "kernels": [table]}, source="node.toml").kernels


def test_the_command_refuses_what_no_kernel_is_near_to_and_what_is_no_series(shared_data: Path, tmp_path: Path) -> None:
    status, said, trouble = cli("kernels", "measure", shared_data / "dicom" / "ct_chest_philips_lidc0314")
    assert (status, said) == (1, "")
    assert "off every kernel that the network knows: do not use it." in trouble

    status, said, trouble = cli("kernels", "measure", tmp_path)
    assert (status, said) == (2, "")
    assert "holds no file" in trouble
