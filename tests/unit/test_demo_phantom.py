"""The demo's scan: a valid CT series, the same every time, as noisy as a low dose."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from node.demo import phantom
from tests.peers import run_tool


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom.make_series(tmp_path_factory.mktemp("phantom"), slices=4, seed=7)


def test_the_same_seed_makes_the_same_files(series: list[Path], tmp_path: Path) -> None:
    again = phantom.make_series(tmp_path, slices=4, seed=7)

    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in series]


def test_another_seed_makes_another_series(series: list[Path], tmp_path: Path) -> None:
    other = pydicom.dcmread(phantom.make_series(tmp_path, slices=4, seed=8)[0])
    first = pydicom.dcmread(series[0])

    assert other.SeriesInstanceUID != first.SeriesInstanceUID
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.PixelData != first.PixelData


def test_slices_are_evenly_spaced_and_say_what_they_are(series: list[Path]) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in series]
    heights_mm = [float(header.ImagePositionPatient[2]) for header in headers]

    assert np.diff(heights_mm) == pytest.approx(phantom.SLICE_MM)
    assert {str(header.PatientName) for header in headers} == {"PHANTOM^DEMO"}
    assert {header.QualityControlImage for header in headers} == {"YES"}
    assert len({header.SOPInstanceUID for header in headers}) == len(headers)


def test_noise_is_that_of_a_low_dose_and_leaves_the_means_alone() -> None:
    truth = phantom.make_volume(slices=4, noise=False)
    noise = phantom.make_volume(slices=4) - truth
    liver, fat = noise[:, 200:260, 140:200], noise[:, 112:120, 200:260]

    assert 28 < liver.std() < 45
    assert fat.std() < 0.75 * liver.std()
    assert abs(liver.mean()) < 0.5


@pytest.mark.peers
def test_dciodvfy_finds_nothing_to_object_to(series: list[Path]) -> None:
    for path in series:
        found = run_tool("dciodvfy", path)
        assert [line for line in found.splitlines() if line.startswith(("Error", "Warning"))] == []
