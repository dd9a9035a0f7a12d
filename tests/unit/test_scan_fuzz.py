"""Whatever bytes come, the header scan reads them or says that they are unreadable, in bounded time and memory."""

import contextlib
import functools
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st

from node.demo.phantom import make_series
from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from node.dicom.scan import KEPT, Unreadable, scan
from tests.elements import ITEM, LONG, OPEN_ITEM, SEQUENCE_END, UNDEFINED, element, text

J2K = "1.2.840.10008.1.2.4.90"


def any_scan(data: bytes, syntax: str) -> None:
    """Whatever came, the scan ends, and only in one of two ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Unreadable):
            scan(data, syntax)


SYNTAXES = st.sampled_from([EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, J2K])


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.binary(max_size=300), syntax=SYNTAXES)
def test_arbitrary_bytes_are_read_or_unreadable_and_nothing_else(data: bytes, syntax: str) -> None:
    any_scan(data, syntax)


def plausible() -> st.SearchStrategy[bytes]:
    """Elements that are nearly right: real tags and VRs, any value, now and then a wrong length."""
    tags = st.sampled_from([*KEPT, 0x0018A001, 0x00081140, 0x7FE00010, 0x00111001])
    vrs = st.sampled_from([b"CS", b"LO", b"UI", b"US", b"DS", b"SQ", b"UN", b"OW", b"FD"])
    values = st.one_of(st.binary(max_size=20), st.just(OPEN_ITEM), st.just(ITEM + SEQUENCE_END))
    lengths = st.one_of(st.none(), st.none(), st.integers(0, 40), st.just(UNDEFINED))

    def make(parts: tuple[int, bytes, bytes, int | None]) -> tuple[int, bytes]:
        tag, vr, value, length = parts
        if length is not None and vr not in LONG:
            length &= 0xFFFF
        return tag, element(tag, vr, value, length=length)

    one = st.tuples(tags, vrs, values, lengths).map(make)
    return st.lists(one, max_size=8).map(lambda found: b"".join(data for _, data in sorted(dict(found).items())))


@settings(max_examples=300, deadline=None, database=None)
@given(data=plausible(), charset=st.binary(max_size=12), name=st.binary(max_size=12), syntax=SYNTAXES)
def test_nearly_right_data_sets_are_read_or_unreadable(data: bytes, charset: bytes, name: bytes, syntax: str) -> None:
    any_scan(data, syntax)
    any_scan(text(0x00080005, b"CS", charset) + text(0x0008103E, b"LO", b"\x1b" + name), EXPLICIT_LE)


@settings(max_examples=40, deadline=None, database=None)
@given(charset=st.sampled_from(["zlib", "hex", "rot13", "undefined", "idna", "punycode", "utf_16", "A\0B", "bz2"]))
def test_a_python_codec_is_no_character_set(charset: str) -> None:
    any_scan(text(0x00080005, b"CS", charset.encode()) + text(0x0008103E, b"LO", b"\x1b$BCHEST\xff"), EXPLICIT_LE)


@functools.cache
def real_headers() -> tuple[tuple[bytes, str], ...]:
    """Headers as programs write them, before the pixels: with and without nested sequences, in every byte order."""
    series = pydicom.dataset.Dataset()
    series.ReferencedImageSequence = [pydicom.dataset.Dataset() for _ in range(3)]
    for item in series.ReferencedImageSequence:
        item.ReferencedSOPInstanceUID = "1.2.3"
        item.PurposeOfReferenceCodeSequence = [pydicom.dataset.Dataset()]
        item.is_undefined_length_sequence_item = True
    with tempfile.TemporaryDirectory() as folder:
        phantom = pydicom.dcmread(make_series(Path(folder), slices=1)[0])
    del phantom.PixelData
    phantom.update(series)
    made = []
    for syntax in (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE):
        stream = pydicom.filebase.DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = syntax != EXPLICIT_BE, syntax == IMPLICIT_LE
        pydicom.filewriter.write_dataset(stream, phantom)
        made.append((stream.getvalue(), syntax))
    return tuple(made)


def test_the_headers_that_are_to_be_broken_are_whole() -> None:
    for header, syntax in real_headers():
        assert scan(header, syntax).header["Modality"] == ("CT",)


@settings(max_examples=400, deadline=2000, database=None)
@given(
    which=st.integers(0, 2),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=6),
    kept=st.floats(0.0, 1.0),
)
def test_real_headers_with_bits_flipped_or_cut_short_are_read_or_unreadable_in_bounded_memory(
    which: int, flips: list[tuple[float, int]], kept: float
) -> None:
    header, syntax = real_headers()[which]
    broken = bytearray(header)
    for where, bit in flips:
        broken[int(where * len(broken))] ^= 1 << bit
    del broken[int(kept * len(broken)) or None :]
    tracemalloc.start()
    try:
        any_scan(bytes(broken), syntax)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
