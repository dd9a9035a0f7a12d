"""The source slices of a derived series: headers only, each as the header of a single-frame image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from node.dicom import codes, multiframe, part10, raw
from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, TRANSFER_SYNTAXES
from node.dicom.multiframe import MultiFrame
from node.dicom.part10 import Element, Part10
from node.errors import Refuse

Elements = Mapping[int, Element]
"""Tag -> element as it lay in the file; raw unless pydicom had to take it apart."""

_USUAL_BYTES = 1 << 16  # of a file that hold the header of a single-frame image
_LITTLE_ENDIAN = frozenset(TRANSFER_SYNTAXES) - {DEFLATED_LE, EXPLICIT_BE}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One slice that was derived from.

    path:     its file
    frame:    0 for a single-frame object, else the number of its frame, 1..N (PS3.3 10.3)
    elements: the header of a single-frame image; of a frame: what functional groups say under classic keywords
    whole:    the multi-frame object that the frame is one of
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    frame: int
    elements: Elements
    whole: MultiFrame | None = None

    @classmethod
    def of(cls, part: Part10, *, path: Path = Path()) -> Self:
        """A single-frame object, or the view of one frame, that is read already."""
        return cls(
            path=path,
            sop_class_uid=part.sop_class_uid,
            sop_instance_uid=part.sop_instance_uid,
            frame=part.frame,
            elements={int(tag): element for tag, element in part10.elements(part.dataset).items()},
        )

    @cached_property
    def dataset(self) -> Dataset:
        """The header as a data set; nothing of it is decoded."""
        return part10.dataset_of({BaseTag(tag): element for tag, element in self.elements.items()})

    @property
    def modality(self) -> str:
        """CT or MR, as the SOP class says.

        raises: Refuse for another class
        """
        if (found := codes.IMAGE_CLASSES.get(self.sop_class_uid)) is None:
            raise Refuse("A source is neither CT nor MR.")
        return found


def read(paths: Sequence[Path], frames: Sequence[int]) -> tuple[Source, ...]:
    """Read the headers of slices in geometric order; a file that holds several frames is read once.

    frames: parallel to `paths`; 0 for a single-frame object
    raises: Refuse if a file or its functional groups can't be read, or a frame is named that is not there
    """
    if len(paths) != len(frames):
        raise Refuse(f"{len(frames)} frames are named for {len(paths)} sources.")
    return tuple(_read(paths, frames))


def _read(paths: Sequence[Path], frames: Sequence[int]) -> Iterator[Source]:
    wholes: dict[Path, MultiFrame] = {}
    for path, frame in zip(paths, frames, strict=True):
        if path not in wholes:
            source = read_header(path)
            if (source.sop_class_uid in codes.MULTI_FRAME) != bool(frame):
                raise Refuse("A frame is named of a single-frame object, or none of a multi-frame one.")
            if not frame:
                yield source
                continue
            wholes[path] = multiframe.MultiFrame.of(source.sop_class_uid, source.sop_instance_uid, source.dataset)
        whole = wholes[path]
        yield Source(
            path=path,
            sop_class_uid=whole.sop_class_uid,
            sop_instance_uid=whole.sop_instance_uid,
            frame=frame,
            elements=whole.as_single(frame),
            whole=whole,
        )


def read_header(path: Path) -> Source:
    """The header of one file as it is, without touching its pixels.

    raises: Refuse as `part10.read`
    """
    with path.open("rb", buffering=0) as file:
        start = file.read(_USUAL_BYTES)
    meta, at = part10._file_meta(start) if start[128:132] == b"DICM" else ({}, 0)
    syntax = meta.get(0x0010, "")
    if syntax in _LITTLE_ENDIAN and 0 < at < len(start):
        try:
            found, _ = raw.elements(start, at, implicit=syntax == IMPLICIT_LE)
        except raw.Unusual:
            pass  # a longer header, or one that only pydicom reads; where it does not, it says what is wrong
        else:
            return Source(
                path=path,
                sop_class_uid=_uid(found, 0x00080016) or meta.get(0x0002, ""),
                sop_instance_uid=_uid(found, 0x00080018) or meta.get(0x0003, ""),
                frame=0,
                elements=found,
            )
    return Source.of(part10.read(path), path=path)


def _uid(found: Elements, tag: int) -> str:
    value = getattr(found.get(tag), "value", None) or b""
    return str(value.decode("latin-1").removesuffix("\0"))
