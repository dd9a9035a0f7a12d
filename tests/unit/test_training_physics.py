"""The physics of training: the scale is right and noise follows the dose, the path and the kernel. numpy only."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training.clean import clean_slice, enlarge, read_nifti, square
from engines.training.detail import disk, probe_field
from engines.training.physics import Scanner, noise_images, project, reconstruct
from engines.training.sources import SOURCES, Role

SIZE = 256
SCANNER = Scanner(size=SIZE, pixel_mm=1.6, views=180)


def radius_mm() -> NDArray[np.float64]:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.hypot(y, x) * SCANNER.pixel_mm


def water() -> NDArray[np.float32]:
    """A cylinder of water, 300 mm across."""
    return np.where(radius_mm() < 150, 0.0, -1000.0).astype(np.float32)


def test_water_comes_back_as_water_and_an_insert_as_itself() -> None:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    place = np.hypot(y - 30, x - 25) * SCANNER.pixel_mm
    image = water()
    image[place < 20] = 500.0

    made = reconstruct(SCANNER, image, Kernel(cutoff=0.5))

    assert np.mean(made[(radius_mm() < 130) & (place > 40)]) == pytest.approx(0.0, abs=0.5)
    assert np.mean(made[place < 10]) == pytest.approx(500.0, abs=2.5)


def test_a_ray_through_the_middle_has_the_length_of_the_cylinder() -> None:
    lines = project(SCANNER, water())

    assert np.median(lines[:, SCANNER.bins // 2]) == pytest.approx(300 * 0.0193, rel=0.01)


def sd(photons: float, kernel: Kernel, image: NDArray[np.float32] | None = None) -> float:
    """Noise SD within 40 mm of the middle, HU."""
    made = noise_images(
        SCANNER,
        water() if image is None else image,
        [kernel],
        photons=photons,
        electronic=0.0,
        rng=np.random.default_rng(0),
    )
    return float(made[0][radius_mm() < 40].std())


def test_noise_goes_with_one_over_the_root_of_the_dose() -> None:
    kernel = Kernel(cutoff=0.5)

    assert sd(1e5, kernel) / sd(4e5, kernel) == pytest.approx(2.0, rel=0.03)


def test_a_thicker_patient_and_a_sharper_kernel_have_more_noise() -> None:
    thin = np.where(radius_mm() < 75, 0.0, -1000.0).astype(np.float32)

    assert sd(3e5, Kernel(cutoff=0.5), thin) < 0.4 * sd(3e5, Kernel(cutoff=0.5))
    assert sd(3e5, Kernel(cutoff=0.6)) > 1.2 * sd(3e5, Kernel(cutoff=0.5))


def test_noise_is_stronger_in_the_middle_than_at_the_rim() -> None:
    noise = noise_images(SCANNER, water(), [Kernel(cutoff=0.5)], photons=3e5, rng=np.random.default_rng(1))[0]

    assert noise[radius_mm() < 40].std() > 1.2 * noise[(radius_mm() > 120) & (radius_mm() < 145)].std()


def test_noise_of_a_soft_kernel_has_its_peak_where_scanners_have_it() -> None:
    scanner = Scanner(size=SIZE, pixel_mm=0.8, views=180)
    image = np.where(radius_mm() / 2 < 75, 0.0, -1000.0).astype(np.float32)
    noise = noise_images(scanner, image, [Kernel(cutoff=0.8)], photons=3e5, rng=np.random.default_rng(2))[0]
    part = noise[96:160, 96:160]
    power = np.abs(np.fft.fft2(part - part.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
    centroid = float((power * frequency).sum() / power.sum())

    # Measured on real quarter-dose slices of a B30 kernel: peak 0.16, centroid 0.22 to 0.24 cycles per pixel.
    assert 0.18 < centroid < 0.30


def test_cleaning_takes_noise_and_keeps_the_edge() -> None:
    image = np.where(np.arange(64)[None, :] < 32, -100.0, 60.0) * np.ones((64, 1))
    noisy = (image[None] + np.random.default_rng(0).normal(0, 12, (3, 64, 64))).astype(np.float32)

    made = clean_slice(noisy, 1, gain=1.2)

    assert np.std((made - image)[:, 5:25]) < 5.0
    assert np.mean(made[:, 33]) - np.mean(made[:, 30]) > 140.0


def test_enlarging_keeps_a_plane_a_plane_and_the_square_keeps_the_slice() -> None:
    plane = (np.arange(12.0)[:, None] + 2 * np.arange(10.0)[None, :]).astype(np.float32)

    large = enlarge(plane, 3)

    assert large.shape == (36, 30)
    assert np.allclose(np.diff(large[6:-6, 6:-6], axis=0), 1 / 3, atol=1e-4)
    assert np.array_equal(square(plane)[2:14, 3:13], plane)


def test_a_nifti_volume_is_read_as_z_y_x_and_another_file_is_refused(tmp_path: Path) -> None:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<3f", header, 108, 352.0, 2.0, -5.0)
    header[344:348] = b"n+1\0"
    voxels = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    path = tmp_path / "volume.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + voxels.tobytes()))
    other = tmp_path / "other.nii.gz"
    other.write_bytes(gzip.compress(bytes(400)))

    assert np.array_equal(read_nifti(path), voxels.astype(np.float32) * 2 - 5)
    with pytest.raises(ValueError, match="no little-endian NIfTI-1"):
        read_nifti(other)


def test_probe_lesions_lie_in_flat_soft_tissue_and_carry_their_contrast() -> None:
    clean = np.where(radius_mm() < 150, 40.0, -1000.0).astype(np.float32)

    field = probe_field(np.random.default_rng(0), clean, SIZE, 6.0, 30.0)

    assert np.max(field) == pytest.approx(30.0, abs=0.5)
    assert np.min(field) == pytest.approx(-30.0, abs=0.5)
    assert not np.any(np.abs(field[radius_mm() > 152]) > 1.0)
    assert disk(32, 16, 16, 3.0, 20.0).sum() == pytest.approx(20.0 * np.pi * 9.0, rel=0.1)


def test_no_held_back_slice_was_trained_on_nor_stands_beside_one() -> None:
    taken = {(s.path, i) for s in SOURCES if s.role is not Role.HELD_BACK for i in s.slices}
    for source in SOURCES:
        if source.role is Role.HELD_BACK:
            for index in source.slices:
                assert not {(source.path, index + step) for step in range(-2, 3)} & taken
