"""Frames as sources of single-frame images: every attribute of the group in which it stands, none guessed."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import derive, frames, part10, source_slices
from node.dicom.scale import Scales
from node.dicom.source_slices import Source
from node.errors import Refuse
from tests import reference_writer
from tests.derived_frames import derived, mr_job, request_for, with_test_kind
from tests.dicom_phantom import ROOT, item, job, slice_of_ct
from tests.enhanced_phantom import ENHANCED, SERIES, enhanced, legacy
from tests.unit.test_dicom_derive import kernel_job


def classic(folder: Path, files: list[str], work: dict[str, Any]) -> list[Dataset]:
    return [pydicom.dcmread(one["path"]) for one in derived(folder, files, work)["instances"]]


@pytest.fixture
def ct(tmp_path: Path) -> list[Dataset]:
    return classic(tmp_path, [enhanced(tmp_path / "e.dcm")], job(z_support=1))


@pytest.fixture
def mr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    with_test_kind(monkeypatch)
    return classic(tmp_path, [enhanced(tmp_path / "e.dcm", modality="MR")], mr_job())


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
        ("ImageType", ["DERIVED", "SECONDARY", "AXIAL", "AI_DENOISE"]),
        ("PixelSpacing", [0.5, 0.5]),
        ("SliceThickness", 2),
        ("ImagePositionPatient", [-10, -12, 54]),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]),
        ("RescaleIntercept", -1024),
        ("RescaleSlope", 1),
        ("RescaleType", "HU"),
        ("WindowCenter", 40),
        ("KVP", 120),
        ("ExposureTime", 500),
        ("XRayTubeCurrent", 103),
        ("Exposure", 50),
        ("CTDIvol", 21.5),
        ("ConvolutionKernel", ["Hr40", "3"]),
        ("ReconstructionDiameter", 250),
        ("GantryDetectorTilt", 0),
        ("TableHeight", 120),
        ("SpiralPitchFactor", 0.8),
        ("DistanceSourceToDetector", 1085),
        ("AcquisitionNumber", 1),
        ("AcquisitionDateTime", "20250102100103.5"),
        ("AcquisitionDate", "20250102"),
        ("AcquisitionTime", "100103.5"),
        ("IrradiationEventUID", f"{ROOT}.8"),
        ("ImageLaterality", "U"),
        ("PatientPosition", "HFS"),
        ("BodyPartExamined", "HEAD"),
        ("ProtocolName", "HEAD ROUTINE"),
        ("PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_a_ct_image_says_what_the_groups_of_its_frame_say(ct: list[Dataset], keyword: str, value: Any) -> None:
    found = ct[2][keyword].value

    assert (list(found) if isinstance(value, list) else found) == value


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
        ("ScanningSequence", "GR"),
        ("SequenceVariant", ["SS", "SP"]),
        ("ScanOptions", "FS"),
        ("MRAcquisitionType", "3D"),
        ("RepetitionTime", 9.5),
        ("EchoTime", 4.6),
        ("EchoTrainLength", 1),
        ("FlipAngle", 8),
        ("MagneticFieldStrength", 3),
        ("ImagedNucleus", "1H"),
        ("ImagingFrequency", 123.25),
        ("PixelBandwidth", 241),
        ("NumberOfAverages", 1.5),
        ("InPlanePhaseEncodingDirection", "COL"),
        ("ReceiveCoilName", "HEAD32"),
        ("TransmitCoilName", "BODY"),
        ("SequenceName", "FLASH"),
        ("SliceThickness", 2),
    ],
)
def test_an_mr_image_says_what_the_groups_of_its_frame_say(mr: list[Dataset], keyword: str, value: Any) -> None:
    found = mr[2][keyword].value

    assert (list(found) if isinstance(value, list) else found) == value


def test_an_mr_image_has_no_rescale_and_its_window_is_in_stored_values(mr: list[Dataset]) -> None:
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "RealWorldValueMappingSequence", "KVP"):
        assert keyword not in mr[0]
    assert (mr[0].WindowCenter, mr[0].WindowWidth) == ((40 + 10) / 0.5, 400 / 0.5)


def test_source_references_name_the_frame_and_the_series_lists_the_object_once(ct: list[Dataset]) -> None:
    named = [
        (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber)
        for one in ct[2].SourceImageSequence
    ]
    (listed,) = ct[2].ReferencedSeriesSequence

    assert named == [(ENHANCED["CT"], f"{SERIES}.1", number) for number in (3, 2, 4)]
    assert [one.ReferencedSOPInstanceUID for one in listed.ReferencedInstanceSequence] == [f"{SERIES}.1"]


def test_nothing_of_a_multi_frame_object_is_left(ct: list[Dataset], mr: list[Dataset]) -> None:
    for image in (*ct, *mr):
        assert not [one for one in image if one.tag.group == 0x5200 or (one.tag.is_private and one.tag.group != 0x0099)]
        for keyword in ("NumberOfFrames", "PixelPresentation", "VolumetricProperties", "DimensionIndexSequence"):
            assert keyword not in image


def test_several_objects_and_any_order_of_frames_are_one_series(tmp_path: Path) -> None:
    files = [
        enhanced(tmp_path / "b.dcm", first=3, frames=3, number=2),
        enhanced(tmp_path / "a.dcm", first=0, frames=3, number=1),
    ]

    made = classic(tmp_path, files, job())

    assert [one.ImagePositionPatient[2] for one in made] == [50, 52, 54, 56, 58, 60]
    assert [one.SourceImageSequence[0].ReferencedFrameNumber for one in made] == [1, 2, 3, 1, 2, 3]
    listed = made[0].ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [one.ReferencedSOPInstanceUID for one in listed] == [f"{SERIES}.1", f"{SERIES}.2"]


def test_the_slow_writer_agrees_on_frames(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "e.dcm")
    for work in (job(z_support=2), job(**kernel_job(), cautions=["probe_r3"])):
        request = request_for(tmp_path, [file], work)

        assert [Path(one["path"]).read_bytes() for one in derived(tmp_path, [file], work)["instances"]] == (
            reference_writer.write(request)
        )


def test_legacy_converted_frames_get_back_what_they_were(tmp_path: Path) -> None:
    slices = [slice_of_ct(index) for index in range(5)]
    before = classic(tmp_path, [legacy(tmp_path / "l.dcm", slices)], job())

    assert [one.XRayTubeCurrent for one in before] == [100, 101, 102, 103, 104]
    assert list(before[0].ConvolutionKernel) == ["Hr40", "3"]
    assert before[0].KVP == 120
    assert "UnassignedSharedConvertedAttributesSequence" not in before[0]


def test_a_coded_contrast_agent_is_named_as_in_a_single_frame_image(tmp_path: Path) -> None:
    def given(ds: Dataset) -> None:
        agent = item(CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning="Iohexol", ContrastBolusVolume=80.0)
        agent.ContrastBolusAgentNumber = 1
        ds.ContrastBolusAgentSequence = [agent]

    made = classic(tmp_path, [enhanced(tmp_path / "e.dcm", given)], job())[0]

    assert (made.ContrastBolusAgent, made.ContrastBolusVolume) == ("Iohexol", 80)
    assert made.ContrastBolusAgentSequence[0].CodeValue == "C-B0322"
    assert "ContrastBolusAgentNumber" not in made.ContrastBolusAgentSequence[0]


def test_padding_of_a_frame_is_restored(tmp_path: Path) -> None:
    def padded(ds: Dataset) -> None:
        ds.add_new(0x00280120, "US", 7)
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(6, 48, 40).copy()
        pixels[pixels == 7] = 8
        pixels[:, :4] = 7
        ds.PixelData = pixels.tobytes()

    file = enhanced(tmp_path / "e.dcm", padded)
    request = request_for(tmp_path, [file], job())
    request["result"] = str(tmp_path / "high.npy")
    np.save(tmp_path / "high.npy", np.full((6, 48, 40), 100, np.float32))
    np.save(tmp_path / "padding.npy", np.repeat(np.arange(48)[None, :, None] < 4, 6, 0).repeat(40, 2))

    for extra in ({}, {"padding": str(tmp_path / "padding.npy")}):
        made = pydicom.dcmread(derive.write_series(request | extra)["instances"][3]["path"]).pixel_array

        assert set(made[:4].flat) == {7}
        assert set(made[4:].flat) == {1124}


# --- refusals -------------------------------------------------------------------------------------------------------


def test_an_mr_frame_without_a_pulse_sequence_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_test_kind(monkeypatch)

    def silent(ds: Dataset) -> None:
        del ds.EchoPulseSequence

    with pytest.raises(Refuse, match="by which pulse sequence"):
        classic(tmp_path, [enhanced(tmp_path / "e.dcm", silent, modality="MR")], mr_job())


def test_a_kind_of_one_modality_is_not_made_of_the_other(tmp_path: Path) -> None:
    with pytest.raises(Refuse, match="not all CT"):
        classic(tmp_path, [enhanced(tmp_path / "e.dcm", modality="MR")], job())


@pytest.mark.parametrize(("frame", "message"), [(0, "A frame is named"), (7, "There is no frame 7 in an object of 6")])
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, frame: int, message: str) -> None:
    path = Path(enhanced(tmp_path / "e.dcm"))

    with pytest.raises(Refuse, match=message):
        source_slices.read([path], [frame])


def test_frames_that_are_declared_and_not_described_are_refused(tmp_path: Path) -> None:
    def lying(ds: Dataset) -> None:
        ds.NumberOfFrames = 5

    with pytest.raises(Refuse, match="6 frames are described, 5 are declared"):
        source_slices.read([Path(enhanced(tmp_path / "e.dcm", lying))], [1])


def test_slices_whose_mr_scales_differ_share_the_finest_that_holds_all(tmp_path: Path) -> None:
    def scaled(ds: Dataset) -> None:
        one = ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        for index, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            changed = copy.deepcopy(one[0])
            changed.RescaleSlope = str(0.5 * (1 + index % 2))
            group.PixelValueTransformationSequence = [changed]

    path = Path(enhanced(tmp_path / "e.dcm", scaled, modality="MR"))
    sources = source_slices.read([path] * 6, [1, 2, 3, 4, 5, 6])
    shared, stated = Scales(sources), Scales(sources, stated=True)

    assert (stated[0].slope, stated[1].slope) == (0.5, 1)
    assert {shared[at] for at in range(6)} == {shared[0]}
    low, high = (value * shared[0].slope + shared[0].intercept for value in (shared[0].lowest, shared[0].highest))
    assert (low, high) == (-10, pytest.approx(4095 - 10))


def test_a_view_that_was_read_already_is_a_source(tmp_path: Path) -> None:
    view = frames.view(part10.read(enhanced(tmp_path / "e.dcm")), 3)

    assert Source.of(view).frame == 3
