"""Encoders and decoders that are not ours: DCMTK, GDCM, OpenJPEG and OpenJPH, as the measure of what a file holds."""

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from tests.peers import run_tool

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{part}" for part in ("", ".1", ".2", ".1.99"))
RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
JPEG, JPEG_FIRST_ORDER = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")

_DECODERS = {
    **dict.fromkeys((IMPLICIT, EXPLICIT, BIG, DEFLATED), ("dcmconv", "+te")),
    **dict.fromkeys((JPEG, JPEG_FIRST_ORDER), ("dcmdjpeg",)),
    JPEG_LS: ("dcmdjpls",),
    RLE: ("dcmdrle",),
}
_ENCODERS = {
    IMPLICIT: ("dcmconv", "+ti"),
    BIG: ("dcmconv", "+tb"),
    DEFLATED: ("dcmconv", "+td"),
    JPEG: ("dcmcjpeg", "+el", "+sv", "6", "+un"),
    JPEG_FIRST_ORDER: ("dcmcjpeg", "+e1", "+un"),
    JPEG_LS: ("dcmcjpls", "+un"),
    RLE: ("dcmcrle", "+un"),
}
ENCODED = (*_ENCODERS, JPEG_2000, *HTJ2K)
"""Every transfer syntax that `encoded` makes of an Explicit Little Endian file."""


def decoded(path: Path, folder: Path) -> NDArray[np.int32]:
    """Stored values (frame, y, x) as a decoder other than ours sees them; bits above Bits Stored are left out."""
    meta = pydicom.filereader.read_file_meta_info(path)
    syntax = str(meta.TransferSyntaxUID)
    folder.mkdir(parents=True, exist_ok=True)
    if syntax in HTJ2K:
        return _opj(path, folder)
    out = folder / "decoded.dcm"
    out.unlink(missing_ok=True)
    if syntax == JPEG_2000:
        said = run_tool("gdcmconv", "--raw", path, out)
    else:
        tool, *options = _DECODERS[syntax]
        said = run_tool(tool, *options, path, out)
    assert out.exists(), f"{path.name}: {said}"
    ds = pydicom.dcmread(out)
    data = np.frombuffer(ds.PixelData, "<u1" if ds.BitsAllocated == 8 else "<u2")
    count = int(ds.get("NumberOfFrames") or 1)
    return _values(ds, data[: count * ds.Rows * ds.Columns].reshape(count, ds.Rows, ds.Columns))


def encoded(path: Path, out: Path, syntax: str) -> Path:
    """Write an Explicit Little Endian file in another transfer syntax, with an encoder that is not ours."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if syntax == JPEG_2000:
        said = run_tool("gdcmconv", "--j2k", path, out)
    elif syntax in HTJ2K:
        return _ojph(path, out, syntax)
    else:
        tool, *options = _ENCODERS[syntax]
        said = run_tool(tool, *options, path, out)
    assert out.exists(), f"{path.name} as {syntax}: {said}"
    assert pydicom.filereader.read_file_meta_info(out).TransferSyntaxUID == syntax
    return out


def _values(ds: pydicom.Dataset, words: NDArray[np.generic]) -> NDArray[np.int32]:
    found: NDArray[np.int32] = words.astype(np.int32) & ((1 << ds.BitsStored) - 1)
    if ds.PixelRepresentation:
        found = np.where(found >> (ds.BitsStored - 1), found - (1 << ds.BitsStored), found).astype(np.int32)
    return found


def _opj(path: Path, folder: Path) -> NDArray[np.int32]:
    ds = pydicom.dcmread(path)
    frames = []
    for frame in generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1)):
        (folder / "frame.j2c").write_bytes(frame)
        raw = folder / "frame.rawl"
        said = run_tool("opj_decompress", "-i", folder / "frame.j2c", "-o", raw)
        assert raw.exists(), said
        frames.append(np.fromfile(raw, "<u2").reshape(ds.Rows, ds.Columns))
    return _values(ds, np.stack(frames))


def _ojph(path: Path, out: Path, syntax: str) -> Path:
    """HTJ2K by OpenJPH, which takes raw pictures."""
    ds = pydicom.dcmread(path)
    count = int(ds.get("NumberOfFrames") or 1)
    words = np.frombuffer(ds.PixelData, "<u2").reshape(count, ds.Rows, ds.Columns)
    streams = [_ojph_frame(frame, ds, out) for frame in _values(ds, words)]
    ds.PixelData = encapsulate(streams)
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(out, enforce_file_format=True)
    return out


def _ojph_frame(frame: NDArray[np.int32], ds: pydicom.Dataset, out: Path) -> bytes:
    # ojph_compress reads negative samples as large ones. T.800 G.1 shifts unsigned samples by half their range before
    # the transform and signed ones not at all: shifted here and called signed afterwards, the stream is the same.
    shift = 1 << (ds.BitsStored - 1) if ds.PixelRepresentation else 0
    raw, stream = out.with_suffix(".yuv"), out.with_suffix(".j2c")
    raw.write_bytes((frame + shift).astype("<u2").tobytes())
    said = run_tool(
        "ojph_compress", "-i", raw, "-o", stream, "-reversible", "true", "-dims", f"{{{ds.Columns},{ds.Rows}}}",
        "-num_comps", "1", "-signed", "false", "-bit_depth", str(ds.BitsStored), "-downsamp", "{1,1}",
    )  # fmt: skip
    assert stream.exists(), said
    codestream = bytearray(stream.read_bytes())
    codestream[42] |= 0x80 if shift else 0  # Ssiz, T.800 A.5.1
    return bytes(codestream)
