"""All objects of a triage before the validators, of several kinds of sources, and read back by other programs."""

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from node.child import Child
from node.dicom import decode, gate, part10
from node.worklist.objects.write import write_objects
from tests import dicom_lint, dicom_phantom, enhanced_phantom, triage_phantom
from tests.triage_phantom import NUMBERS, not_analysable, paths, raised

TOOLS = [*dicom_lint.missing_tools(), *([] if Path("/usr/bin/dsrdump").exists() else ["dsrdump"])]
pytestmark = pytest.mark.skipif(bool(TOOLS), reason=f"not installed: {', '.join(TOOLS)}")
SHARED = Path(__file__).parents[2].parent / "shared/data/dicom"
FORMS = tuple(NUMBERS)
UNSUPPORTED = (
    "The VR checker does not support this Specific Character Set: ISO_IR 192",
    "The VR checker does not support this Specific Character Set: \\ISO 2022 IR 87",
    "Reading unknown/unsupported SpecificCharacterSet (\\ISO 2022 IR 87)",
    "Check for template constraints not yet supported",
)
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a triage was made of: paths and frames in geometric order, and (z, y, x)."""

    paths: list[str]
    frames: list[int]
    shape: tuple[int, int, int]


def everything(folder: Path) -> Sources:
    """An implicit VR series with all that a header can hold, a Japanese name and a foreign private block."""

    def named(ds: Dataset, index: int) -> None:
        ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        ds.PatientName, ds.SeriesDescription, ds.PatientAge, ds.PatientWeight = NAME, "Head", "055Y", "70"

    made = dicom_phantom.series(folder, dicom_phantom.everything, named, rows=96, columns=80)
    return Sources(paths=made, frames=[0] * 4, shape=(4, 96, 80))


def compressed(folder: Path) -> Sources:
    """Many thin slices, RLE."""
    made = dicom_phantom.series(folder, slices=40, rows=96, columns=80, gap_mm=0.6)
    for path in made:
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    return Sources(paths=made, frames=[0] * 40, shape=(40, 96, 80))


def enhanced(folder: Path) -> Sources:
    """Two objects that continue each other."""
    made = [
        enhanced_phantom.enhanced(folder / f"{number}.dcm", first=3 * (number - 1), number=number, frames=3, rows=96,
                                  columns=80)
        for number in (1, 2)
    ]  # fmt: skip
    return Sources(paths=[made[0]] * 3 + [made[1]] * 3, frames=[1, 2, 3] * 2, shape=(6, 96, 80))


KINDS: dict[str, Callable[[Path], Sources]] = {"everything": everything, "compressed": compressed, "enhanced": enhanced}


@dataclass(frozen=True, kw_only=True)
class Made:
    sources: Sources
    reply: dict[str, Any]
    request: dict[str, Any]

    def datasets(self, form: str) -> list[Dataset]:
        return [pydicom.dcmread(path) for path in paths(self.reply, form)]


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every form, written by the child that the node writes with."""
    folder = tmp_path_factory.mktemp(request.param)
    sources = KINDS[request.param](folder / "in")
    asked = triage_phantom.request(
        folder / "out",
        sources.paths,
        raised(),
        *FORMS,
        frames=sources.frames,
        maps_at=triage_phantom.maps(folder, sources.shape),
    )
    child = Child(memory_mb=4096, seconds=120.0, doing="Writing")
    try:
        return Made(
            sources=sources, request=asked, reply=child.call("node.worklist.objects.write:write_objects", asked)
        )
    finally:
        child.close()


def test_validators_find_nothing_in_any_object(made: Made) -> None:
    assert made.reply["left_out"] == {}
    first = {form: paths(made.reply, form) for form in FORMS}
    assert [len(found) for found in first.values()] == [1, 3, 1, 1, 1, made.sources.shape[0]]
    for form, found in first.items():
        for path in found[:2]:
            assert not dicom_lint.lint(path, made.sources.paths[0]), form
    outputs = [one["path"] for one in made.reply["instances"]]
    assert not dicom_lint.entities([*dict.fromkeys(made.sources.paths), *outputs])


def test_a_second_run_writes_the_same_bytes_of_every_form(made: Made, tmp_path: Path) -> None:
    """In another process, some time later, into another folder."""
    again = write_objects({**made.request, "out": str(tmp_path)})

    def digests(reply: dict[str, Any]) -> list[tuple[str, str, int]]:
        return [(one["sop_instance_uid"], one["sha256"], one["bytes"]) for one in reply["instances"]]

    assert digests(again) == digests(made.reply)
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in (".dcm", "")], "nothing is left over"
    for one in again["instances"]:
        assert hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest() == one["sha256"]


def test_other_programs_read_the_documents(made: Made) -> None:
    for form in ("report", "keys"):
        (path,) = paths(made.reply, form)
        ran = subprocess.run(
            ["dsrdump", "+Pl", "+Pc", path], capture_output=True, text=True, errors="replace", check=False
        )
        assert ran.returncode == 0, ran.stderr
        # What DCMTK itself does not do is all that it may say.
        assert not [line for line in ran.stderr.splitlines() if not line.endswith(UNSUPPORTED)]
        assert {"report": "FLAG_RAISED,99GENAI", "keys": "Not a diagnosis"}[form] in ran.stdout


def test_every_form_is_a_series_of_its_own_in_the_study_of_its_source(made: Made) -> None:
    source = pydicom.dcmread(made.sources.paths[0])
    for form in FORMS:
        found = made.datasets(form)
        assert {one.SeriesInstanceUID for one in found} == {made.reply["series_instance_uids"][form]}
        assert {int(one.SeriesNumber) for one in found} == {NUMBERS[form]}
        assert {one.StudyInstanceUID for one in found} == {source.StudyInstanceUID}
        for one in found:
            assert one.PatientName == source.PatientName
            assert one.get_item("PatientName").value == source.get_item("PatientName").value
            assert one[0x0008001C].value in ("YES", b"YES ")
            assert "AI" in one.SeriesDescription
    assert len(set(made.reply["series_instance_uids"].values())) == len(FORMS)


def test_the_report_refers_to_every_slice_once_and_names_frames(made: Made) -> None:
    (document,) = made.datasets("report")
    (group,) = highdicom.sr.Comprehensive3DSR.from_dataset(document).content.get_image_measurement_groups()
    found = {
        (one.referenced_sop_instance_uid, frame)
        for one in group.source_images
        for frame in one.referenced_frame_numbers or [0]
    }
    named = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in made.sources.paths]
    assert found == set(zip(named, made.sources.frames, strict=True))
    assert len(group.source_images) == len(set(named))
    evidence = [
        one.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert sorted(evidence) == sorted(set(named))


def test_key_objects_point_at_the_capture_and_the_strongest_slice(made: Made) -> None:
    (document,) = made.datasets("keys")
    items = [one for one in document.ContentSequence if "ReferencedSOPSequence" in one]
    named = [one.ReferencedSOPSequence[0] for one in items]
    top = pydicom.dcmread(made.sources.paths[2], stop_before_pixels=True)

    captured = [one.SOPInstanceUID for one in made.datasets("capture")]
    assert [one.ReferencedSOPInstanceUID for one in named] == [*captured, top.SOPInstanceUID]
    assert [one.get("ReferencedFrameNumber", 0) for one in named] == [0] * 3 + [made.sources.frames[2]]


def test_the_map_says_the_z_values_within_half_a_step(made: Made) -> None:
    (shown,) = made.datasets("map")
    mapping = shown.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = shown.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    wanted = np.load(made.request["maps"])["z"]

    assert mapping.RealWorldValueSlope == 0.001
    assert np.abs(values - wanted).max() <= 0.0005 + 1e-5
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert shown.pixel_array.dtype == np.uint16
    assert list(shown.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]


def test_the_segmentation_has_the_region_voxel_by_voxel(made: Made) -> None:
    (path,) = paths(made.reply, "segment")
    found = highdicom.seg.segread(path)
    wanted = np.load(made.request["maps"])["region"]

    assert np.array_equal(found.pixel_array.reshape(wanted.shape).astype(np.bool_), wanted)
    (described,) = found.SegmentSequence
    assert described.SegmentAlgorithmType == "AUTOMATIC"
    assert (
        described.TrackingUID
        == made.datasets("report")[0].ContentSequence[-1].ContentSequence[0].ContentSequence[1].UID
    )
    geometry = found.get_volume_geometry()
    assert geometry is not None
    assert geometry.spatial_shape == wanted.shape


def test_the_pseudo_healthy_series_is_marked_and_holds_what_the_network_made(made: Made) -> None:
    found = sorted(made.datasets("classic"), key=lambda one: int(one.InstanceNumber))
    wanted = np.load(made.request["maps"])["healthy"]
    values = np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in found])

    assert np.abs(values - wanted).max() <= 0.5
    for one in found:
        assert one.SeriesDescription == "SYNTHETIC PSEUDO-HEALTHY (AI)"
        assert one.ImageComments.startswith("SYNTHETIC image")
        assert 0x60003000 in one


def test_the_loop_guard_knows_every_one_of_them(made: Made) -> None:
    def said(path: str) -> list[str]:
        return gate.own_work([part10.header(part10.read(path), decode.HEADER)])

    assert not said(made.sources.paths[0])
    for form in FORMS:
        assert said(paths(made.reply, form)[0]), form


def test_a_set_without_a_readable_pixel_has_a_clean_report(tmp_path: Path) -> None:
    sources = dicom_phantom.series(tmp_path / "in", dicom_phantom.everything, slices=2)
    for path in sources:
        ds = pydicom.dcmread(path)
        ds.PixelData = b"\0\0"
        ds.save_as(path)
    reply = triage_phantom.written(tmp_path / "out", sources, not_analysable())
    (path,) = paths(reply, "report")

    assert not dicom_lint.lint(path, sources[0])
    assert not dicom_lint.entities([*sources, path])


def test_what_only_a_switch_adds_never_costs_a_flag(tmp_path: Path) -> None:
    """Without a frame of reference nothing can lie in the patient; the images are too small for words, too."""

    def nowhere(ds: Dataset, index: int) -> None:
        del ds.FrameOfReferenceUID

    sources = dicom_phantom.series(tmp_path / "in", nowhere)
    at = triage_phantom.maps(tmp_path, (4, 48, 40))
    reply = triage_phantom.written(tmp_path / "out", sources, raised(), *FORMS, maps_at=at)

    assert [one["form"] for one in reply["instances"]] == ["report", "capture", "capture", "capture", "keys"]
    assert set(reply["left_out"]) == {"map", "segment", "classic"}
    assert set(reply["series_instance_uids"]) == {"report", "capture", "keys"}
    assert "frame of reference" in reply["left_out"]["map"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_a_tilted_head_of_a_scanner_passes_every_validator(tmp_path: Path) -> None:
    found = sorted(
        (SHARED / "ct_headphantom_philips_tilt+16.5").glob("*.dcm"),
        key=lambda path: float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]),
    )
    first = pydicom.dcmread(found[0])
    sources, shape = [str(path) for path in found], (len(found), int(first.Rows), int(first.Columns))
    at = triage_phantom.maps(tmp_path, shape)
    reply = triage_phantom.written(
        tmp_path / "out", sources, raised(), "report", "capture", "keys", "map", "segment", maps_at=at
    )
    for form in ("report", "capture", "keys", "map", "segment"):
        assert not dicom_lint.lint(paths(reply, form)[0], sources[0]), form
    assert not dicom_lint.entities([*sources, *(one["path"] for one in reply["instances"])])
