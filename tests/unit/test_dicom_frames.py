"""Frames of Enhanced objects are read as the single images they stand for, one by one, from any encoding."""

import json
import resource
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from node.child import Child
from node.dicom import compare, decode, frames, gate, part10, stacks
from node.dicom.pixels import pixel_values
from node.errors import Refuse
from tests.dicom_phantom import slice_of_ct
from tests.enhanced_phantom import enhanced, legacy
from tests.peers import run_tool


def words(path: str) -> np.ndarray:
    ds = pydicom.dcmread(path)
    return np.frombuffer(ds.PixelData, "<u2").reshape(-1, ds.Rows, ds.Columns)


def headers(path: str) -> list[dict[str, tuple[str, ...]]]:
    (found,) = frames.frame_headers({"paths": [path]})["headers"]
    return [{keyword: tuple(values) for keyword, values in header.items()} for header in found]


def prepared(path: str, order: list[int], folder: Path) -> tuple[dict[str, object], np.ndarray]:
    request = {
        "slices": [[path, frame] for frame in order],
        "voxels": f"{folder}/voxels.npy",
        "padding": f"{folder}/padding.npy",
    }
    return decode.prepare_series(request), np.load(folder / "voxels.npy")


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_frames_of_an_object_become_a_volume_in_geometric_order(tmp_path: Path, modality: str) -> None:
    path = enhanced(tmp_path / "e.dcm", modality=modality, frames=5)

    reply, voxels = prepared(path, [4, 1, 5, 3, 2], tmp_path)

    assert [[4, 1, 5, 3, 2][index] for index in reply["order"]] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]
    slope, intercept, unit = (1, -1024, "HU") if modality == "CT" else (0.5, -10, "MR")
    assert reply["unit"] == unit
    assert np.array_equal(voxels, words(path).astype(np.float32) * np.float32(slope) + np.float32(intercept))


def test_a_header_holds_the_values_of_its_frame_under_classic_names(tmp_path: Path) -> None:
    found = headers(enhanced(tmp_path / "e.dcm", frames=3))

    assert [header["FrameNumber"] for header in found] == [("1",), ("2",), ("3",)]
    assert [header["ImagePositionPatient"][2] for header in found] == ["50.0", "52.0", "54.0"]
    for keyword, values in {
        "PixelSpacing": ("0.5", "0.5"),
        "SliceThickness": ("2",),
        "KVP": ("120",),
        "ConvolutionKernel": ("Hr40", "3"),
        "RescaleIntercept": ("-1024",),
        "ImageType": ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
        "GantryDetectorTilt": ("0",),
        "StackID": ("1",),
    }.items():
        assert found[1][keyword] == values
    assert not {"PatientName", "PatientID", "PatientBirthDate", "NumberOfFrames"} & found[0].keys()
    assert gate.ineligible(found) == []


def test_a_legacy_converted_object_gives_back_what_its_images_said(tmp_path: Path) -> None:
    sources = [slice_of_ct(index) for index in range(4)]
    path = legacy(tmp_path / "l.dcm", sources)

    found = headers(path)

    assert [header["XRayTubeCurrent"] for header in found] == [("100",), ("101",), ("102",), ("103",)]
    assert found[0]["ConvolutionKernel"] == ("Hr40", "3")
    assert found[0]["ProtocolName"] == ("HEAD ROUTINE",)


def per_frame(change: Callable[[Dataset, int], None]) -> Callable[[Dataset], None]:
    def changed(ds: Dataset) -> None:
        for index, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            change(group, index)

    return changed


def kind(**values: object) -> Callable[[Dataset], None]:
    def change(group: Dataset, index: int) -> None:
        for keyword, value in values.items():
            setattr(group.CTImageFrameTypeSequence[0], keyword, value)

    return per_frame(change)


def without(*keywords: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for item in (ds.SharedFunctionalGroupsSequence[0], *ds.PerFrameFunctionalGroupsSequence):
            for keyword in keywords:
                item.pop(keyword, None)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (kind(VolumetricProperties="SAMPLED"), "VolumetricProperties is SAMPLED, not VOLUME, in 4 of 4 slices"),
        (kind(VolumeBasedCalculationTechnique="MAX_IP"), "VolumeBasedCalculationTechnique is MAX_IP, not NONE or MPR"),
        (kind(PixelPresentation="COLOR"), "PixelPresentation is COLOR, not MONOCHROME"),
        (kind(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]), "LOCALIZER stands in ImageType"),
        (without("PlanePositionSequence"), "ImagePositionPatient is missing"),
        (without("PlaneOrientationSequence"), "ImageOrientationPatient is missing"),
        (without("PixelMeasuresSequence"), "PixelSpacing is missing"),
        (without("PixelValueTransformationSequence"), "RescaleSlope is missing"),
    ],
)
def test_the_gate_names_what_a_frame_lacks_or_is(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    reasons = gate.ineligible(headers(enhanced(tmp_path / "e.dcm", change, frames=4)))

    assert any(reason in line for line in reasons), reasons


def test_groups_that_do_not_fit_the_number_of_frames_are_refused(tmp_path: Path) -> None:
    def fewer(ds: Dataset) -> None:
        del ds.PerFrameFunctionalGroupsSequence[-1]

    with pytest.raises(Refuse, match="5 frames are described, 6 are declared"):
        headers(enhanced(tmp_path / "e.dcm", fewer))


def test_two_phases_in_one_object_are_two_parts(tmp_path: Path) -> None:
    def phases(group: Dataset, index: int) -> None:
        group.PlanePositionSequence[0].ImagePositionPatient = [-10, -12, 50 + 2 * (index // 2)]
        group.FrameContentSequence[0].TemporalPositionIndex = index % 2 + 1

    path = enhanced(tmp_path / "e.dcm", per_frame(phases), frames=8)

    first, second = stacks.split([headers(path)])
    _, voxels = prepared(path, [one.frame for one in second.slices], tmp_path)

    assert (first.label, second.label) == ("TemporalPositionIndex=1", "TemporalPositionIndex=2")
    assert [one.frame for one in second.slices] == [2, 4, 6, 8]
    assert np.array_equal(voxels, words(path)[1::2].astype(np.float32) - 1024)


def rewritten(path: str, out: Path, syntax: UID, **how: object) -> Path:
    """The object with its frames encoded one by one. how: options of pydicom's `encapsulate`, or extended=True"""
    ds = pydicom.dcmread(path)
    options = {"jls_error": 0} if syntax == JPEGLSLossless else {}
    runner = {
        "rows": ds.Rows, "columns": ds.Columns, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 12,
        "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2", "number_of_frames": 1,
    }  # fmt: skip
    encoded = [get_encoder(syntax).encode(frame.tobytes(), index=0, **runner, **options) for frame in words(path)]
    if how.pop("extended", False):
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(encoded)
    else:
        ds.PixelData = encapsulate(encoded, **how)  # type: ignore[arg-type]
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(out, enforce_file_format=True)
    return out


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    "how",
    [
        {"fragments_per_frame": 1, "has_bot": True},
        {"fragments_per_frame": 1, "has_bot": False},
        {"fragments_per_frame": 3, "has_bot": True},
        {"fragments_per_frame": 3, "has_bot": False},
        {"extended": True},
    ],
    ids=str,
)
def test_frames_are_found_by_every_way_of_saying_where_they_are(
    tmp_path: Path, syntax: UID, how: dict[str, object]
) -> None:
    if syntax == RLELossless and how.get("fragments_per_frame") == 3:
        pytest.skip("an RLE frame is one fragment (PS3.5 A.4.2)")
    path = enhanced(tmp_path / "e.dcm", frames=4)
    expected = words(path)

    part = part10.read(rewritten(path, tmp_path / "r.dcm", syntax, **dict(how)))

    for frame in (3, 1, 4, 2):
        assert np.array_equal(decode.stored_values(part, frame).values, expected[frame - 1])


def encapsulated(tmp_path: Path, **how: object) -> bytearray:
    path = enhanced(tmp_path / "e.dcm", frames=4)
    return bytearray(rewritten(path, tmp_path / "r.dcm", JPEGLSLossless, **how).read_bytes())


def read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "changed.dcm").write_bytes(data)
    part = part10.read(tmp_path / "changed.dcm")
    for frame in range(1, 5):
        decode.stored_values(part, frame)


def test_an_offset_table_that_names_no_fragment_is_refused(tmp_path: Path) -> None:
    data = encapsulated(tmp_path, fragments_per_frame=2, has_bot=True)
    table = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00OB")) + 8
    data[table + 4 : table + 8] = struct.pack("<I", 6)

    with pytest.raises(Refuse, match="8 fragments can't be assigned to 4 frames"):
        read(tmp_path, data)


def test_a_frame_too_few_is_refused(tmp_path: Path) -> None:
    encapsulated(tmp_path, fragments_per_frame=1, has_bot=False)
    part = replace(part10.read(tmp_path / "r.dcm"), frames=3)

    with pytest.raises(Refuse, match="4 fragments can't be assigned to 3 frames"):
        pixel_values(replace(part, frame=2))


def test_an_extended_offset_table_that_lies_is_refused(tmp_path: Path) -> None:
    data = encapsulated(tmp_path, extended=True)
    at = data.index(struct.pack("<HH2sHI", 0x7FE0, 0x0001, b"OV", 0, 32)) + 12
    data[at + 8 : at + 16] = struct.pack("<Q", 99)

    with pytest.raises(Refuse, match="names frame 2 where no fragment is"):
        read(tmp_path, data)


def test_pixel_data_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    data = encapsulated(tmp_path, fragments_per_frame=1, has_bot=False)

    with pytest.raises(Refuse, match="is never closed"):
        read(tmp_path, data[:-8])


def test_a_big_endian_object_reads_as_its_little_endian_twin(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "e.dcm", frames=3)
    run_tool("dcmconv", "+tb", path, tmp_path / "big.dcm")
    big, little = part10.read(tmp_path / "big.dcm"), part10.read(path)

    assert headers(str(tmp_path / "big.dcm")) == headers(path)
    for frame in (1, 2, 3):
        assert np.array_equal(decode.stored_values(big, frame).values, decode.stored_values(little, frame).values)


def test_eight_bits_are_read_where_an_enhanced_mr_may_have_them(tmp_path: Path) -> None:
    def eight(ds: Dataset) -> None:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") // 16).astype(np.uint8).tobytes()
        ds["PixelData"].VR = "OB"

    path = enhanced(tmp_path / "e.dcm", eight, modality="MR", frames=3)
    expected = np.frombuffer(pydicom.dcmread(path).PixelData, np.uint8).reshape(3, 48, 40)

    _, voxels = prepared(path, [1, 2, 3], tmp_path)

    assert np.array_equal(voxels, expected.astype(np.float32) * np.float32(0.5) - 10)
    ct = enhanced(tmp_path / "ct.dcm", eight, frames=3)
    assert "BitsAllocated is 8, not 16" in gate.ineligible(headers(ct))


def test_frames_of_a_large_object_are_read_one_by_one(tmp_path: Path) -> None:
    """A child with room for its libraries and a few frames only decodes an object of many times that size."""
    side, count = 1024, 400  # 800 MiB of pixels, of which the file system stores the written frames only

    def large(ds: Dataset) -> None:
        ds.Rows = ds.Columns = side
        groups = list(ds.PerFrameFunctionalGroupsSequence)
        extended = []
        for index in range(count):
            one = Dataset.from_json(json.dumps(groups[0].to_json_dict()))
            one.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * index]
            extended.append(one)
        ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = extended, count
        ds.PixelData = b""

    path = Path(enhanced(tmp_path / "e.dcm", large))
    size = side * side * 2
    with path.open("r+b") as file:
        data = file.read()
        at = data.rindex(b"\xe0\x7f\x10\x00OW")
        file.seek(at + 8)
        file.write(struct.pack("<I", size * count))
        for index in range(3):  # the only frames that are looked at
            file.seek(at + 12 + size * index)
            file.write((np.arange(side * side) % 2000 + index).astype("<u2").tobytes())
        file.truncate(at + 12 + size * count)
    voxels, padding = tmp_path / "v.npy", tmp_path / "p.npy"
    request = {"slices": [[str(path), frame] for frame in (1, 2, 3)], "voxels": str(voxels), "padding": str(padding)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

    with closing(Child(memory_mb=700, seconds=60)) as child:
        reply = child.call("node.dicom.decode:prepare_series", request)

    assert reply["shape"] == [3, side, side]
    assert np.array_equal(np.load(voxels)[1].ravel(), np.arange(side * side) % 2000 + 1 - 1024)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 400 << 10)


def test_two_encodings_of_one_object_are_the_same_and_one_other_frame_is_not(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "e.dcm", frames=3)
    again = rewritten(path, tmp_path / "r.dcm", RLELossless)
    ds = pydicom.dcmread(path)
    ds.PixelData = ds.PixelData[:-2] + bytes([ds.PixelData[-2] ^ 1, ds.PixelData[-1]])
    ds.save_as(tmp_path / "other.dcm")

    assert compare.same_pixels({"paths": [path, str(again)]}) == {"same": True}
    assert compare.same_pixels({"paths": [path, str(tmp_path / "other.dcm")]}) == {"same": False}
