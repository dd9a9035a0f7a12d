"""Stored values equal those of a reference decoder, bit for bit: DCMTK, GDCM for JPEG 2000, OpenJPEG for HTJ2K."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from node.dicom import decode, frames, part10, pixels, stacks
from node.dicom.classes import TRANSFER_SYNTAXES
from node.errors import Refuse
from tests import reference
from tests.dicom_phantom import series
from tests.peers import run_tool
from tests.series import with_uids

# Real scans of every kind of stored value: signed and unsigned, 12 to 16 bits, padding outside the picture, frames.
SOURCES = {
    "ct_chest_philips_lidc0314/001.dcm": "CT, Philips",
    "ct_abdomen_ge_acrin3/001.dcm": "CT, GE, padding of -3024",
    "ct_body_nysbu_A046441/19001111-045.dcm": "CT, Toshiba",
    "mr_t1_ge_fruit/091.dcm": "MR, GE",
    "mr_t1_uih/025.dcm": "MR, United Imaging",
    "mr_t2_siemens_trio/031.dcm": "MR, Siemens",
    "enhanced_multiframe/mr_siemens_xa10_phantom_6_1.dcm": "Enhanced MR, Siemens",
}


# The reference gives up on these: no transfer syntax where it looks for one, an element twice in the data set.
MALFORMED = {"TC0395_meta_glen_max.dcm", "TC0445_duplicate_tags.dcm"}


def ours(path: Path) -> NDArray[np.int32]:
    """Stored values (frame, y, x) as the node decodes them."""
    part = part10.read(path)
    views = [replace(part, frame=number) for number in range(1, part.frames + 1)]
    return np.stack([pixels.pixel_values(view)[0].astype(np.int32) for view in views])


def test_every_real_file_that_is_decoded_equals_the_reference(shared_data: Path, tmp_path: Path) -> None:
    compared: Counter[str] = Counter()
    for path in sorted([*(shared_data / "dicom").rglob("*.dcm"), *(shared_data / "odd").rglob("*.dcm")]):
        try:
            found = ours(path)
        except Refuse:
            continue  # the matrix names them, with the reason of each
        if path.name in MALFORMED:
            continue
        # GDCM writes no file without UIDs, and these have none.
        whole = with_uids(path, tmp_path / path.name) if "siemens_j2k" in path.parent.name else path
        assert np.array_equal(found, reference.decoded(whole, tmp_path)), path
        compared[str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID)] += 1

    assert sum(compared.values()) > 120
    assert set(compared) == set(TRANSFER_SYNTAXES) - {*reference.HTJ2K, reference.JPEG}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_the_files_without_a_reference_are_those_that_it_gives_up_on(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises((AssertionError, AttributeError)):
        reference.decoded(shared_data / "odd" / "malformed" / name, tmp_path)


@pytest.mark.parametrize(
    ("folder", "slope", "intercept"),
    [("mr_t1_ge_fruit", 1.0, 0.0), ("mr_t1gd_siemens_vs-seg-001", 1.0, 0.0), ("mr_t1_siemens_trio", 1.0, 0.0)],
)
def test_a_classic_mr_becomes_a_volume_in_its_own_units(
    shared_data: Path, tmp_path: Path, folder: str, slope: float, intercept: float
) -> None:
    files = sorted((shared_data / "dicom" / folder).iterdir())
    request = {"slices": [[str(path), 0] for path in files], "voxels": f"{tmp_path}/v.npy"}

    reply = decode.prepare_series(request | {"padding": f"{tmp_path}/p.npy"})

    expected = np.concatenate([reference.decoded(files[index], tmp_path) for index in reply["order"]])
    assert reply["unit"] == "MR"
    assert np.array_equal(np.load(tmp_path / "v.npy"), expected.astype(np.float32) * slope + intercept)


def test_a_part_of_an_enhanced_mr_becomes_a_volume_in_its_own_units(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "dicom" / "enhanced_multiframe" / "mr_philips_fieldmap_212fr.dcm"
    (listed,) = frames.frame_headers({"paths": [str(path)]})["headers"]
    headers = [{keyword: tuple(values) for keyword, values in header.items()} for header in listed]
    phase = stacks.split([headers])[3]
    numbers = [one.frame for one in phase.slices]
    request = {"slices": [[str(path), number] for number in numbers], "voxels": f"{tmp_path}/v.npy"}

    reply = decode.prepare_series(request | {"padding": f"{tmp_path}/p.npy"})

    stored = reference.decoded(path, tmp_path)
    order = [numbers[index] - 1 for index in reply["order"]]
    slope, intercept = (np.float32(phase.slices[0].header[word][0]) for word in ("RescaleSlope", "RescaleIntercept"))
    assert phase.label == "ComplexImageComponent=PHASE,EchoTime=4.6"
    assert len(order) == 53
    assert np.array_equal(np.load(tmp_path / "v.npy"), stored[order].astype(np.float32) * slope + intercept)


@pytest.fixture(scope="module")
def plain(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources in Explicit VR Little Endian, by name."""
    folder = tmp_path_factory.mktemp("plain")
    found = {}
    for number, name in enumerate(SOURCES):
        ds = pydicom.dcmread(shared_data / "dicom" / name)
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            ds.decompress()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        found[name] = folder / f"{number}.dcm"
        ds.save_as(found[name], implicit_vr=False, little_endian=True)
    return found


@pytest.mark.parametrize("syntax", reference.ENCODED)
def test_a_scan_decodes_to_the_same_values_from_every_transfer_syntax(
    plain: dict[str, Path], tmp_path: Path, syntax: str
) -> None:
    for number, (name, path) in enumerate(plain.items()):
        expected = ours(path)
        file = reference.encoded(path, tmp_path / f"{number}.dcm", syntax)

        assert np.array_equal(ours(file), expected), name
        assert np.array_equal(reference.decoded(file, tmp_path / "decoded"), expected), name


def j2k(values: NDArray[np.int32], folder: Path, *, bits: int, signed: bool) -> bytes:
    """A lossless JPEG 2000 codestream by OpenJPEG; of signed values as of shifted ones, see `reference._ojph_frame`."""
    raw, stream = folder / "values.rawl", folder / "values.j2k"
    raw.write_bytes((values + (1 << bits - 1 if signed else 0)).astype("<u2").tobytes())
    rows, columns = values.shape
    said = run_tool("opj_compress", "-i", raw, "-o", stream, "-F", f"{columns},{rows},1,{bits},u", "-n", "3")
    assert stream.exists(), said
    codestream = bytearray(stream.read_bytes())
    codestream[42] |= 0x80 if signed else 0
    return bytes(codestream)


@pytest.mark.parametrize(
    ("coded", "header", "stored"),
    [
        ((12, True), (12, True), lambda v: v),
        ((12, False), (12, True), lambda v: v & 0xFFF),  # the usual mistake: two's complement called unsigned
        ((12, True), (12, False), lambda v: v),
        ((12, False), (12, False), abs),
        ((12, True), (16, True), lambda v: v),
        ((12, False), (16, False), abs),
        ((16, True), (12, True), lambda v: v),
        ((16, False), (16, True), lambda v: v & 0xFFFF),
        ((13, False), (12, False), abs),
    ],
)
def test_sign_and_precision_that_disagree_are_read_as_gdcm_reads_them(
    tmp_path: Path, coded: tuple[int, bool], header: tuple[int, bool], stored: Callable[[int], int]
) -> None:
    path = mismatched(tmp_path, coded, header, stored)

    mask = (1 << header[0]) - 1  # GDCM takes over the precision of the codestream; the bits are what is compared
    assert np.array_equal(ours(path) & mask, reference.decoded(path, tmp_path) & mask)


@pytest.mark.parametrize(
    ("coded", "header", "stored", "message"),
    [
        ((12, False), (16, True), lambda v: v & 0xFFF, "has 12 unsigned bits, its header 16 signed ones"),
        ((12, True), (16, False), lambda v: v, "has 12 signed bits, its header 16 unsigned ones"),
        ((16, False), (12, False), lambda v: abs(v) * 40, "holds values from .* its header stores 12 bits"),
        ((16, True), (12, True), lambda v: v * 30, "holds values from .* its header stores 12 bits"),
    ],
)
def test_sign_and_precision_that_decoders_read_in_two_ways_are_refused(
    tmp_path: Path, coded: tuple[int, bool], header: tuple[int, bool], stored: Callable[[int], int], message: str
) -> None:
    with pytest.raises(Refuse, match=message):
        ours(mismatched(tmp_path, coded, header, stored))


def mismatched(folder: Path, coded: tuple[int, bool], header: tuple[int, bool], stored: Callable[[int], int]) -> Path:
    """A CT whose header says other bits and another sign (`header`) than its codestream (`coded`)."""
    y, x = np.mgrid[:64, :48]
    values = np.vectorize(stored)((900 * np.sin(x / 9) * np.cos(y / 7)).astype(np.int32))
    ds = pydicom.dcmread(series(folder / "s", slices=2)[0])
    ds.Rows, ds.Columns, ds.BitsStored, ds.HighBit = 64, 48, header[0], header[0] - 1
    ds.PixelRepresentation = int(header[1])
    ds.PixelData = encapsulate([j2k(values, folder, bits=coded[0], signed=coded[1])])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    ds.save_as(folder / "mismatched.dcm", enforce_file_format=True)
    return folder / "mismatched.dcm"


def test_the_known_mismatch_of_pydicom_is_read_as_gdcm_reads_it(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)))

    assert np.array_equal(ours(path), reference.decoded(path, tmp_path))


def test_no_transfer_syntax_of_the_node_is_left_out() -> None:
    assert set(reference.ENCODED) | {reference.EXPLICIT} == set(TRANSFER_SYNTAXES)


def test_the_comparison_can_fail(plain: dict[str, Path], tmp_path: Path) -> None:
    path = next(iter(plain.values()))
    ds = pydicom.dcmread(path)
    words = np.frombuffer(ds.PixelData, "<u2").copy()
    words[len(words) // 2] ^= 1
    ds.PixelData = words.tobytes()
    ds.save_as(tmp_path / "other.dcm")

    assert not np.array_equal(ours(tmp_path / "other.dcm"), reference.decoded(path, tmp_path))
