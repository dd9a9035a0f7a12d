"""The capture of a triage: what a reader sees, the right way round and to scale, and nothing of who the patient is."""

import hashlib
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import letters, triage_codes
from node.errors import Refuse
from node.worklist.objects import capture, picture
from node.worklist.objects.picture import FOOT, HEAD, SIDE, YELLOW, Scene
from tests import dicom_phantom, triage_phantom
from tests.triage_phantom import not_analysable, not_raised, raised

SHAPE = (4, 48, 40)
SIDES = ("R", "L", "A", "P")


def scene(shape: tuple[int, int], gaps_mm: tuple[float, float], region: Any = None) -> Scene:
    """A disc of 60 mm in the middle of an image."""
    y, x = np.indices(shape, np.float32)
    distance = np.hypot((y - (shape[0] - 1) / 2) * gaps_mm[0], (x - (shape[1] - 1) / 2) * gaps_mm[1])
    marked = np.zeros(shape, np.bool_)
    if region is not None:
        marked[region] = True
    return Scene(
        hu=np.where(distance < 30, 40.0, -1000.0).astype(np.float32), region=marked, gaps_mm=gaps_mm, sides=SIDES
    )


def grey(made: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the disc shows, letters and bar apart."""
    return (made[HEAD : HEAD + SIDE] == 128).all(axis=2)


def holds(made: NDArray[np.uint8], text: str, colour: tuple[int, int, int]) -> bool:
    """Whether a line of text stands somewhere in a picture."""
    word = letters.drawn(text, 2)
    here = (made == np.array(colour)).all(axis=2)
    kernel = np.where(word, 1.0, -1.0)
    found = np.fft.irfft2(np.fft.rfft2(here) * np.conj(np.fft.rfft2(kernel, here.shape)), here.shape)
    whole = found[: here.shape[0] - word.shape[0] + 1, : here.shape[1] - word.shape[1] + 1]
    return bool(np.any(np.rint(whole) == word.sum()))


@pytest.mark.parametrize(
    ("shape", "gaps_mm"),
    [((512, 512), (0.45, 0.45)), ((64, 64), (3.5, 3.5)), ((1024, 1024), (0.2, 0.2)), ((300, 100), (0.5, 1.5))],
    ids=str,
)
def test_a_disc_is_round_and_as_large_as_the_scale_says(shape: tuple[int, int], gaps_mm: tuple[float, float]) -> None:
    drawn = scene(shape, gaps_mm)
    made = picture.drawn(drawn, triage_codes.CAPTION, ("SLICE 1 OF 2", "WINDOW"))
    disc = grey(made)
    rows, columns = np.flatnonzero(disc.any(axis=1)), np.flatnonzero(disc.any(axis=0))
    pixel_mm = max(gaps_mm) + 2 * drawn.mm_per_pixel

    assert made.shape == (HEAD + SIDE + FOOT, SIDE, 3)
    for extent in (rows, columns):
        assert (extent[-1] - extent[0] + 1) * drawn.mm_per_pixel == pytest.approx(60, abs=2 * pixel_mm)
    bar = np.flatnonzero((made[HEAD + SIDE - 10, SIDE * 2 // 3 :] == 255).all(axis=1))
    length_mm = next(one for one in (100, 50, 20, 10, 5) if holds(made, f"{one} MM", picture.WHITE))
    assert len(bar) * drawn.mm_per_pixel == pytest.approx(length_mm, abs=drawn.mm_per_pixel)
    assert holds(made, triage_codes.CAPTION, YELLOW)
    assert holds(made, "SLICE 1 OF 2", picture.WHITE)


def test_text_that_is_not_there_is_not_found() -> None:
    made = picture.drawn(scene((64, 64), (3.5, 3.5)), triage_codes.CAPTION, ())
    assert not holds(made, "SLICE 1 OF 2", picture.WHITE)
    assert not holds(made, "7 MM", picture.WHITE)


@pytest.mark.parametrize("shape", [(48, 40), (1024, 1024)], ids=str)
def test_a_region_of_one_pixel_is_marked_around_where_it_is(shape: tuple[int, int]) -> None:
    at = (shape[0] // 4, shape[1] // 3)
    made = picture.drawn(scene(shape, (0.5, 0.5), at), "-", ())
    marked = np.argwhere((made[HEAD : HEAD + SIDE] == YELLOW).all(axis=2))
    offset = (SIDE - SIDE * np.array(shape) / max(shape)) / 2
    expected = (np.array(at) + 0.5) * SIDE / max(shape) + offset

    assert np.abs(marked.mean(axis=0) - expected).max() < 2
    inside = made[HEAD + int(expected[0]), int(expected[1])]
    assert tuple(inside) != YELLOW, "what is marked can still be seen"


def test_no_region_no_contour() -> None:
    made = picture.drawn(scene((48, 40), (0.5, 0.5)), "-", ())
    assert not (made[HEAD : HEAD + SIDE] == YELLOW).all(axis=2).any()


def test_a_region_at_the_edge_of_the_picture_is_marked() -> None:
    assert picture.contour(np.ones((5, 5), np.bool_)).sum() == 16


@pytest.mark.parametrize(
    ("direction", "letter"),
    [((1, 0, 0), "L"), ((-1, 0, 0), "R"), ((0, 1, 0), "P"), ((0, 0, 1), "H"), ((0, -0.96, -0.28), "AF")],
)
def test_sides_are_those_of_the_patient(direction: tuple[float, float, float], letter: str) -> None:
    assert capture.sides(np.array(direction, np.float64)) == letter


def test_a_page_that_is_too_long_is_no_page() -> None:
    with pytest.raises(ValueError, match="rows, the page has"):
        picture.page("-", "-", ["A WORD " * 200])


def captured(folder: Path, *changes: Any, **more: Any) -> list[Dataset]:
    sources = dicom_phantom.series(folder / "in", *changes)
    at = triage_phantom.maps(folder, SHAPE)
    reply = triage_phantom.written(folder / "out", sources, raised(**more), "report", "capture", "keys", maps_at=at)
    assert not (folder / "out/.maps").exists()
    return [pydicom.dcmread(one["path"]) for one in reply["instances"] if one["form"] != "report"]


def test_a_page_and_the_slices_that_the_assessment_points_at(tmp_path: Path) -> None:
    *images, keys = captured(tmp_path)
    page, first, second = images
    sources = [pydicom.dcmread(path).SOPInstanceUID for path in dicom_phantom.series(tmp_path / "in")]

    assert [one.InstanceNumber for one in images] == [1, 2, 3]
    assert [[one.ReferencedSOPInstanceUID for one in image.SourceImageSequence] for image in images] == [
        sources[1:3],
        [sources[1]],
        [sources[2]],
    ]
    for one in images:
        assert (one.ConversionType, one.BurnedInAnnotation, one.Modality) == ("WSD", "NO", "OT")
        assert list(one.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "AI_TRIAGE"]
        assert one[0x0008001C].value in ("YES", b"YES ")
        assert (one.SeriesNumber, one.SeriesDescription) == (4045, "AI TRIAGE - NOT FOR DIAGNOSIS")
        assert one.pixel_array.shape == (HEAD + SIDE + FOOT, SIDE, 3)
        assert holds(one.pixel_array, triage_codes.CAPTION, YELLOW)
        assert (one.DateOfSecondaryCapture, one.BodyPartExamined) == ("20260304", "HEAD")
        assert "DerivationCodeSequence" not in one
    assert not page.PatientOrientation
    assert "PixelSpacing" not in page
    assert list(first.PatientOrientation) == ["L", "P"]
    assert [float(one) for one in second.PixelSpacing] == [48 * 0.5 / SIDE] * 2
    assert holds(second.pixel_array, "SLICE 3/4  IMAGE 98  RANK 1/2", picture.WHITE)

    assert keys.ConceptNameCodeSequence[0].CodeValue == "113000"
    content = highdicom.ko.KeyObjectSelectionDocument.from_dataset(keys).content
    named = [one.referenced_sop_instance_uid for one in content.get_references()]
    assert named == [*(one.SOPInstanceUID for one in images), sources[2]]
    assert [one.TextValue for one in keys.ContentSequence if "TextValue" in one][-1] == (
        "AI triage: flag raised. Not a diagnosis."
    )


def test_a_series_whose_rows_run_from_left_to_right_is_named_so(tmp_path: Path) -> None:
    def turned(ds: Dataset, index: int) -> None:
        ds.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]

    _, first, *_ = captured(tmp_path, turned)
    made = first.pixel_array[: HEAD + SIDE]

    assert list(first.PatientOrientation) == ["R", "A"]
    assert holds(made[:, : SIDE // 4], "L", picture.WHITE)
    assert holds(made[:, -SIDE // 4 :], "R", picture.WHITE)


def test_a_contour_stands_around_the_region_and_the_values_are_those_of_the_slice(tmp_path: Path) -> None:
    _, first, *_ = captured(tmp_path)
    made = first.pixel_array[HEAD : HEAD + SIDE]
    marked = np.argwhere((made == YELLOW).all(axis=2))

    assert marked.mean(axis=0) == pytest.approx([SIDE / 2, SIDE / 2], abs=SIDE / 48)
    reach = (marked.max(axis=0) - marked.min(axis=0)) / 2
    assert reach == pytest.approx([40 / 6 * SIDE / 48] * 2, abs=SIDE / 24)
    body = made[SIDE // 2 - 20 : SIDE // 2 + 20, SIDE // 2 - 20 : SIDE // 2 + 20].astype(float)
    assert body.mean() == pytest.approx(40 / 80 * 255, abs=8)


def test_nothing_of_the_patient_is_drawn(tmp_path: Path) -> None:
    def other(ds: Dataset, index: int) -> None:
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber = "Other^One", "ID-2", "19990909", "X"
        ds.InstitutionName, ds.StudyDescription = "Elsewhere", "Other"

    one, two = captured(tmp_path / "a"), captured(tmp_path / "b", other)
    drawn = [[hashlib.sha256(image.PixelData).hexdigest() for image in images[:-1]] for images in (one, two)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("assessed", "message"),
    [(not_raised(), "this assessment has none"), (not_analysable(), "was not analysed has no capture")],
)
def test_without_a_flag_there_is_no_capture(tmp_path: Path, assessed: Any, message: str) -> None:
    sources, at = dicom_phantom.series(tmp_path / "in"), triage_phantom.maps(tmp_path, SHAPE)
    with pytest.raises(Refuse, match=message):
        triage_phantom.written(tmp_path / "out", sources, assessed, "report", "capture", maps_at=at)


def test_maps_of_another_grid_are_refused(tmp_path: Path) -> None:
    sources, at = dicom_phantom.series(tmp_path / "in"), triage_phantom.maps(tmp_path, (4, 40, 48))
    with pytest.raises(Refuse, match=r"The array region is bool \(4, 40, 48\)"):
        triage_phantom.written(tmp_path / "out", sources, raised(), "report", "capture", maps_at=at)
    with pytest.raises(Refuse, match="There are no maps"):
        triage_phantom.written(tmp_path / "out", sources, raised(), "report", "capture")


def test_a_capture_that_breaks_an_assertion_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "IMAGE_TYPE", ("ORIGINAL", "PRIMARY", "OTHER", "TRIAGE"))
    with pytest.raises(Refuse, match="Image Type"):
        captured(tmp_path)
    assert not list((tmp_path / "out").glob("capture*"))
