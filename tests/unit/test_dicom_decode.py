"""Decoding: voxels are HU in geometric order, and pixels that can't be a CT's are refused with a figure."""

import base64
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom import codestream, decode, part10
from node.dicom.pixels import pixel_values
from node.errors import Refuse
from tests.dicom_phantom import Change, derived, save, series, slice_of_ct


def prepared(paths: list[str], folder: Path) -> tuple[dict[str, object], np.ndarray, np.ndarray]:
    reply = decode.prepare_series(
        {
            "slices": [[path, 0] for path in paths],
            "voxels": str(folder / "voxels.npy"),
            "padding": str(folder / "padding.npy"),
        }
    )
    return reply, np.load(folder / "voxels.npy"), np.load(folder / "padding.npy")


def words(path: str) -> np.ndarray:
    ds = pydicom.dcmread(path)
    return np.frombuffer(ds.PixelData, "<i2" if ds.PixelRepresentation else "<u2").reshape(ds.Rows, ds.Columns)


def pixels(values: np.ndarray) -> Change:
    def change(ds: Dataset, index: int) -> None:
        ds.Rows, ds.Columns = values.shape
        ds.PixelData = values.astype("<i2" if ds.PixelRepresentation else "<u2").tobytes()

    return change


def set_to(**values: object) -> Change:
    def change(ds: Dataset, index: int) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def test_voxels_are_hu_in_geometric_order_whatever_the_file_order(tmp_path: Path) -> None:
    paths = series(tmp_path / "s", slices=5)
    shuffled = [paths[index] for index in (3, 0, 4, 2, 1)]

    reply, voxels, padding = prepared(shuffled, tmp_path)

    assert [shuffled[index] for index in reply["order"]] == paths
    assert reply["shape"] == [5, 48, 40]
    assert reply["unit"] == "HU"
    assert voxels.dtype == np.float32
    assert np.array_equal(voxels, np.stack([words(path).astype(np.float32) - 1024 for path in paths]))
    assert padding.dtype == np.bool_
    assert not padding.any()
    assert np.allclose(np.array(reply["affine"]) @ [2, 0, 0, 1], [-10, -12, 54, 1])
    assert reply["pixel_sha256"] == [hashlib.sha256(words(path).tobytes()).hexdigest() for path in paths]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]
)
def test_every_transfer_syntax_gives_the_same_voxels_and_the_same_digest(
    tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    plain = series(tmp_path / "plain")
    other = []
    for path in plain:
        ds = pydicom.dcmread(path)
        if syntax.is_encapsulated:
            options = {} if syntax == RLELossless else {"jls_error": 0} if syntax == JPEGLSLossless else {}
            ds.compress(syntax, generate_instance_uid=False, **options)
        ds.file_meta.TransferSyntaxUID = syntax
        target = tmp_path / "other" / Path(path).name
        target.parent.mkdir(exist_ok=True)
        ds.save_as(target, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
        other.append(str(target))

    one, voxels, _ = prepared(plain, tmp_path)
    two, again, _ = prepared(other, tmp_path)

    assert np.array_equal(voxels, again)
    assert one["pixel_sha256"] == two["pixel_sha256"]


def test_signed_values_of_16_bits_are_read_as_signed(tmp_path: Path) -> None:
    signed = set_to(PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept="0")
    values = np.array([[-1000, 40], [-5, 1200]])

    _, voxels, _ = prepared(series(tmp_path / "s", signed, pixels(values), slices=2), tmp_path)

    assert np.array_equal(voxels[0], values)


@pytest.mark.parametrize("representation", [0, 1])
def test_bits_above_bits_stored_are_no_part_of_the_value(tmp_path: Path, representation: int) -> None:
    values = np.array([[5, 900], [1000, 2000]], np.int32)
    overlay = np.array([[0x1000, 0x8000], [0xF000, 0]], np.int32)
    path = series(tmp_path, set_to(PixelRepresentation=representation), slices=2)[0]
    ds = pydicom.dcmread(path)
    ds.Rows, ds.Columns, ds.PixelData = 2, 2, (values | overlay).astype("<u2").tobytes()
    ds.save_as(path)

    assert np.array_equal(decode.stored_values(part10.read(path)).values, values)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_padding_is_known_whatever_its_writer_called_its_type(tmp_path: Path, vr: str) -> None:
    def padded(ds: Dataset, index: int) -> None:
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
        values = np.frombuffer(ds.PixelData, "<u2").astype("<i2").reshape(ds.Rows, ds.Columns).copy()
        values[:3] = -2000
        ds.PixelData = values.tobytes()
        ds.add_new(0x00280120, vr, -2000 if vr == "SS" else 65536 - 2000)

    _, voxels, padding = prepared(series(tmp_path / "s", padded), tmp_path)

    assert padding[:, :3].all()
    assert not padding[:, 3:].any()
    assert (voxels[:, :3] == -1024).all()


def test_a_padding_range_covers_all_values_up_to_its_limit(tmp_path: Path) -> None:
    def ranged(ds: Dataset, index: int) -> None:
        ds.add_new(0x00280120, "US", 3)
        ds.add_new(0x00280121, "US", 1)
        values = np.full((4, 4), 1000)
        values[0] = [0, 1, 2, 3]
        pixels(values)(ds, index)
        values[3, 3] = 1100 + index
        pixels(values)(ds, index)

    _, _, padding = prepared(series(tmp_path / "s", ranged), tmp_path)

    assert padding[0, 0].tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pixels(np.full((4, 4), 1000)), "Every voxel of the series has the same value, -24 HU."),
        (set_to(RescaleIntercept="30000"), "0.0% of the voxels lie within -1100 to 3100 HU"),
        (set_to(RescaleIntercept="-9000"), "0.0% of the voxels lie within -1100 to 3100 HU"),
        (
            set_to(RescaleSlope="10", RescaleIntercept="-1024"),
            "of the voxels lie above 4095 HU, at most 10% of a CT do",
        ),
        (set_to(PixelData=b"\0" * 100), "Pixel Data has 100 bytes, 48 x 40 of 16 bits are 3840"),
        (set_to(PixelData=b"\0" * 7680), "Pixel Data has 7680 bytes, 48 x 40 of 16 bits are 3840"),
        (set_to(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "LOCALIZER stands in ImageType in 4 of 4 slices"),
        (set_to(PixelPaddingValue=60000), "The padding from 60000 to 60000 can't be stored within 0 to 4095"),
    ],
)
def test_pixels_that_can_not_be_a_ct_are_refused_with_their_figure(
    tmp_path: Path, change: Change, message: str
) -> None:
    with pytest.raises(Refuse, match=message.split("(")[0]):
        prepared(series(tmp_path / "s", change), tmp_path)

    assert not list(tmp_path.glob("*.npy*"))


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    paths = series(tmp_path / "s")
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:-200])

    with pytest.raises(Refuse, match="Pixel Data declares 3840 bytes, 3640 are left"):
        prepared(paths, tmp_path)


def test_a_lossy_transfer_syntax_is_refused(tmp_path: Path) -> None:
    ds = slice_of_ct(0)
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    ds["PixelData"].is_undefined_length = True
    path = tmp_path / "lossy.dcm"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    ds.save_as(path, enforce_file_format=True)

    with pytest.raises(Refuse, match="is not one that the node decodes"):
        part10.read(path)


def test_a_deflated_bomb_is_refused_before_it_fills_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = series(tmp_path, slices=1, syntax=DeflatedExplicitVRLittleEndian)[0]
    monkeypatch.setattr(part10, "MAXIMUM_INFLATED_BYTES", 2000)

    with pytest.raises(Refuse, match="inflates to more than 2000 bytes"):
        part10.read(path)


def test_sop_uids_that_stand_only_in_the_file_meta_are_taken_from_there(tmp_path: Path) -> None:
    path = series(tmp_path, slices=1)[0]
    ds = pydicom.dcmread(path)
    ds.SOPClassUID, ds.SOPInstanceUID = None, None
    ds.save_as(path)

    part = part10.read(path)

    assert part.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert part10.header(part, decode.HEADER)["SOPInstanceUID"] == (ds.file_meta.MediaStorageSOPInstanceUID,)


def j2k(rows: int, columns: int, *, reversible: bool = True) -> bytes:
    size = struct.pack(">HHHIIIIIIIIHBBB", 0xFF51, 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1, 15, 1, 1)
    coding = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 0, 5, 4, 4, 0, int(reversible))
    return b"\xff\x4f" + size + coding + b"\xff\x90"


def jpeg_ls(rows: int, columns: int, *, near: int) -> bytes:
    frame = struct.pack(">HHBHHB3s", 0xFFF7, 11, 16, rows, columns, 1, b"\x01\x11\0")
    return b"\xff\xd8" + frame + struct.pack(">HHB2sBBB", 0xFFDA, 8, 1, b"\x01\0", near, 0, 0)


@pytest.mark.parametrize(
    ("frame", "syntax", "message"),
    [
        (j2k(65535, 65535), "1.2.840.10008.1.2.4.90", "is 65535 x 65535 with 1 components of 16 bits"),
        (j2k(4, 4, reversible=False), "1.2.840.10008.1.2.4.90", "it is lossy"),
        (j2k(4, 4)[:20], "1.2.840.10008.1.2.4.201", "ends inside its own header"),
        (b"\0\0\0\x0cjP  ", "1.2.840.10008.1.2.4.90", "no JPEG 2000 codestream"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\x04\0\x04\x01\x01\x11\0", "1.2.840.10008.1.2.4.70", "JPEG process C0"),
        (jpeg_ls(9, 4, near=0), "1.2.840.10008.1.2.4.80", "9 x 4"),
        (jpeg_ls(4, 4, near=2), "1.2.840.10008.1.2.4.80", "NEAR 2"),
        (b"\x06\0\0\0" + b"\0" * 60, "1.2.840.10008.1.2.5", "has 6 segments"),
    ],
)  # fmt: skip
def test_a_codestream_that_is_not_what_its_header_promises_never_reaches_a_decoder(
    frame: bytes, syntax: str, message: str
) -> None:
    with pytest.raises(Refuse, match=message):
        codestream.check(frame, syntax, rows=4, columns=4)


def test_a_good_codestream_passes() -> None:
    codestream.check(j2k(4, 4), "1.2.840.10008.1.2.4.90", rows=4, columns=4)


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_RLE", "CT1_UNC.fragmented_bot_jpeg_ls.80"]
)
def test_real_compressed_instances_decode_as_a_second_decoder_does(shared_data: Path, name: str) -> None:
    path = shared_data / "odd" / "syntaxes" / f"{name}.dcm"
    part = part10.read(path)
    ds = pydicom.dcmread(path)

    found, _, _ = pixel_values(part)

    plugin = "" if name == "MR_small_RLE" else "pylibjpeg"
    assert np.array_equal(found, pydicom.pixels.pixel_array(ds, decoding_plugin=plugin))


def test_no_instance_of_clinical_nonsense_becomes_a_volume(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data.parent / "corpus"
    files = [
        path for part in ("gen_clinical", "gen_conflict", "gen_bombs") for path in sorted((folder / part).iterdir())
    ]
    assert files

    for path in files:
        with pytest.raises(Refuse):
            prepared([str(path)], tmp_path)


# Stored values (37 y + 291 x) mod 4096, of 8 x 12, less 2048 where signed; encoded with OpenJPH 0.26.3, reversible.
HTJ2K = {
    0: (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
        "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGoAAf+TwAAm6/UFB3QAAMAAEwB28wOHdADAABLAABOAowEHdABQof4AYjQA"
        "wAATwAAVIBzl6IKLdACkJNIAAAB3VgDAACqgABWgRIgQIfLacgJ1AEgEQRDk4Aj2EIHsuAD/2Q=="
    ),
    1: (
        "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
        "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGoAAf+TwAAm6/0Ch3QAAMAAEwB28wOHdADAABLAABOAowEHdABQof4AYjQA"
        "wAATwAAVIBzl6IKLdACkJNIAAAB3VgDAACqgABWgRIgQIfLacgJ1AEgEQRDk4Aj2EIHsuAD/2Q=="
    ),
}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"])
@pytest.mark.parametrize("representation", [0, 1])
def test_high_throughput_jpeg_2000_decodes_to_the_values_that_were_encoded(
    tmp_path: Path, syntax: str, representation: int
) -> None:
    y, x = np.mgrid[0:8, 0:12]
    ds = slice_of_ct(0, rows=8, columns=12)
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = representation, 16, 15
    path = save(ds, tmp_path / "one.dcm")
    ds = pydicom.dcmread(path)
    ds.PixelData = encapsulate([base64.b64decode(HTJ2K[representation])])
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(path)

    found = decode.stored_values(part10.read(path)).values

    assert np.array_equal(found, (y * 37 + x * 291) % 4096 - 2048 * representation)


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="DCMTK's dcmcjpeg is not installed")
@pytest.mark.parametrize(("option", "syntax"), [("+el", "1.2.840.10008.1.2.4.57"), ("+e1", "1.2.840.10008.1.2.4.70")])
@pytest.mark.parametrize("representation", [0, 1])
def test_lossless_jpeg_of_dcmtk_decodes_to_the_values_that_were_encoded(
    tmp_path: Path, option: str, syntax: str, representation: int
) -> None:
    ds = slice_of_ct(0)
    if representation:
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2").astype("<i2") - 1024).tobytes()
    plain, packed = save(ds, tmp_path / "plain.dcm"), str(tmp_path / "packed.dcm")

    subprocess.run(["dcmcjpeg", option, plain, packed], check=True)

    part = part10.read(packed)
    assert part.transfer_syntax == syntax
    assert np.array_equal(decode.stored_values(part).values, decode.stored_values(part10.read(plain)).values)


def test_monochrome1_says_how_values_are_shown_and_changes_none(tmp_path: Path) -> None:
    inverted = series(tmp_path / "one", set_to(PhotometricInterpretation="MONOCHROME1"))
    _, voxels, _ = prepared(inverted, tmp_path)
    _, usual, _ = prepared(series(tmp_path / "two"), tmp_path)

    assert np.array_equal(voxels, usual)
    (made, *_) = derived(tmp_path / "three", set_to(PhotometricInterpretation="MONOCHROME1"))
    assert made.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(made.pixel_array, pydicom.dcmread(inverted[0]).pixel_array)


@pytest.mark.parametrize(("slope", "intercept"), [(None, None), ("2.5", "-3")])
def test_an_mr_has_its_own_units_with_or_without_rescale(
    tmp_path: Path, slope: str | None, intercept: str | None
) -> None:
    def mr(ds: Dataset, index: int) -> None:
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.4", "MR"
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType, ds.KVP
        if slope is not None:
            ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        ds.add_new(0x00280120, "US", 0)
        values = np.full((6, 5), 100 * (index + 1))
        values[0] = 0
        pixels(values)(ds, index)

    reply, voxels, padding = prepared(series(tmp_path / "s", mr, slices=3), tmp_path)

    expected = np.array([100, 200, 300], np.float32) * np.float32(slope or 1) + np.float32(intercept or 0)
    assert reply["unit"] == "MR"
    assert voxels[:, 3, 3].tolist() == expected.tolist()
    assert padding[:, 0].all()
    assert (voxels[:, 0] == 0).all()


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_half_a_rescale_is_a_reason(tmp_path: Path, keyword: str) -> None:
    def mr(ds: Dataset, index: int) -> None:
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.4", "MR"
        delattr(ds, keyword)

    with pytest.raises(Refuse, match=f"{keyword} is missing"):
        prepared(series(tmp_path / "s", mr), tmp_path)
