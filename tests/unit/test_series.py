"""The test series are what a scanner sends: valid, in HU, the right way round."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests import series
from tests.peers import run_tool


@pytest.mark.peers
def test_every_shared_volume_becomes_a_valid_series(shared_data: Path, tmp_path: Path) -> None:
    for number, volume in enumerate(series.volumes(shared_data)):
        files = series.write_volume(volume, tmp_path / str(number), slices=3)
        assert run_tool("dciodvfy", files[1]).split() == ["CTImage"]
        assert run_tool("dcentvfy", *files).strip() == ""


def test_pixels_are_the_hounsfield_units_of_the_volume(shared_data: Path, tmp_path: Path) -> None:
    volume = shared_data / "ct" / "headphantom_philips_kernelUB_1mm.nii.gz"
    scene = series.read_nifti(volume)

    first = pydicom.dcmread(series.write_volume(volume, tmp_path, slices=None)[0])

    hu = first.pixel_array * float(first.RescaleSlope) + float(first.RescaleIntercept)
    assert np.array_equal(hu, np.clip(scene.voxels[0], -1024, 3071))
    assert [float(value) for value in first.ImagePositionPatient] == pytest.approx(scene.first_mm, abs=1e-3)


def test_bodies_lie_on_their_backs(shared_data: Path) -> None:
    """The spine is at the back: further down the image than the middle of the body."""
    scene = series.read_nifti(shared_data / "ct" / "chest_lidc0314_philips_kernelD_1mm.nii.gz")
    middle = scene.voxels[:, :, 180:260]

    rows_of_bone = np.argwhere(middle > 300)[:, 1]

    assert np.median(rows_of_bone) > 0.55 * scene.voxels.shape[1]


def test_variants_spoil_what_they_say_and_nothing_else(shared_data: Path, tmp_path: Path) -> None:
    volume = shared_data / "ct" / "petct_ge_ibsi_STS_002.nii.gz"
    files = series.write_volume(volume, tmp_path / "original", slices=4)
    original = pydicom.dcmread(files[0])

    other = pydicom.dcmread(series.with_other_pixels(files[0], tmp_path / "pixels.dcm"))
    twin = pydicom.dcmread(series.at_same_position(files[0], tmp_path / "twin.dcm"))
    bare = pydicom.dcmread(series.with_header(files[0], tmp_path / "bare.dcm", KVP=None))

    assert other.SOPInstanceUID == original.SOPInstanceUID
    assert other.PixelData != original.PixelData
    assert twin.SOPInstanceUID != original.SOPInstanceUID
    assert twin.ImagePositionPatient == original.ImagePositionPatient
    assert "KVP" not in bare
    assert len(series.without_slice(files, 2)) == 3
    assert sorted(series.shuffled(files)) == sorted(files) != series.shuffled(files)
    assert [len(list(part.iterdir())) for part in series.split(files, tmp_path / "split", 3)] == [2, 1, 1]
