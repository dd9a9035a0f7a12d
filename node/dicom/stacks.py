"""Which slices of a set belong together: a set of several phases, echoes or kinds of image becomes several parts.

Pure functions over headers. A set is divided by the attributes that make even stacks of it, and only where the stacks
lie in each other's place: two halves of one scan are no two phases. Nothing is guessed: what no attribute tells apart
stays one part, and the gate says what is wrong with it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.dicom.geometry import SAME_POSITION_MM, Grid, Header, Unreadable, stack

WHOLE: Final = "all"  # the label of the only part of a set
LONGEST_LABEL: Final = 64
MOST_ATTRIBUTES: Final = 3  # told apart by more than that at once, nobody knows what a part is
MOST_TRIALS: Final = 300

# What makes two slices at one place different pictures, the plainest first: of two that divide alike, the first one
# gives the label. An absent attribute counts as one more value.
TELLING: Final = (
    "StackID",
    "ComplexImageComponent",
    "ImageType",
    "EchoNumbers",
    "EchoTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "DiffusionDirectionality",
    "NominalPercentageOfCardiacPhase",
    "NominalCardiacTriggerDelayTime",
    "TriggerTime",
    "NominalPercentageOfRespiratoryPhase",
    "TemporalPositionTimeOffset",
    "InversionTime",
    "FlipAngle",
    "ASLContext",
    "MetaboliteMapDescription",
    "ContrastBolusAgentPhase",
    "ContrastBolusAgentNumber",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "ReconstructionAlgorithm",
    "ReconstructionDiameter",
    "SliceThickness",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
)
# These make slices that no one stack can hold, wherever they lie: they may divide a set without standing in one place.
APART: Final = ("ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


_Key = tuple[tuple[str, ...], ...]  # the values of the telling attributes that slices of one part share


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
    """Divide a set into even stacks by the attributes that yield them.

    headers_per_instance: of each object the headers of its frames (`frames.frame_headers`); one for a single-frame one
    returns:              one part labelled "all" if the set is one stack or if nothing tells its slices apart; parts in
                          the order of their values
    """
    slices = tuple(
        Slice(instance=instance, frame=number if "FrameNumber" in header else 0, header=header)
        for instance, headers in enumerate(headers_per_instance)
        for number, header in enumerate(headers, start=1)
    )
    whole = (Part(label=WHOLE, slices=slices),)
    headers = [one.header for one in slices]
    if len(slices) < 2 or stack(headers).problem is None:
        return whole
    try:
        places = _Places.of(headers)
    except Unreadable:
        return whole
    divisions = [
        (words, groups)
        for words in islice(_attempts(headers), MOST_TRIALS)
        if places.are_stacks(groups := _groups(headers, words), apart=set(words) <= set(APART))
    ]
    for words, groups in divisions:
        if _all_even(headers, groups):
            return _parts(slices, words, groups)
    for words, groups in divisions:  # one phase lacks slices that another one has: the gate refuses that one alone
        if any(places.are_all(group) and _is_even(headers, group) for group in groups.values()):
            return _parts(slices, words, groups)
    return whole


def _attempts(headers: Sequence[Header]) -> Iterator[tuple[str, ...]]:
    """The attributes to try: alone, then together. One that leaves a slice alone does so in any company too."""
    useful = []
    for word in (*APART, *TELLING):
        sizes = Counter(header.get(word, ()) for header in headers).values()
        if len(sizes) > 1 and min(sizes) > 1:
            useful.append(word)
    for count in range(1, MOST_ATTRIBUTES + 1):
        yield from combinations(useful, count)


def _groups(headers: Sequence[Header], words: Sequence[str]) -> dict[_Key, list[int]]:
    groups: dict[_Key, list[int]] = defaultdict(list)
    for index, header in enumerate(headers):
        groups[tuple(header.get(word, ()) for word in words)].append(index)
    return groups


def _all_even(headers: Sequence[Header], groups: Mapping[_Key, Sequence[int]]) -> bool:
    return all(_is_even(headers, group) for group in groups.values())


def _is_even(headers: Sequence[Header], group: Sequence[int]) -> bool:
    return stack([headers[index] for index in group]).problem is None


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where the slices of a set lie, for a quick judgement before geometry is asked.

    place: a number for each slice, the same for slices that lie in one place in one orientation
    depth: of each slice along the normal of the first one, mm
    """

    place: NDArray[np.int64]
    depth: NDArray[np.float64]

    @classmethod
    def of(cls, headers: Sequence[Header]) -> "_Places":
        grids = [Grid.of(header) for header in headers]
        corners = np.array([np.concatenate([g.position, g.along_columns * 100, g.along_rows * 100]) for g in grids])
        _, place = np.unique(np.rint(corners / (10 * SAME_POSITION_MM)), axis=0, return_inverse=True)
        return cls(place=place.reshape(-1), depth=np.array([grid.position @ grids[0].normal for grid in grids]))

    def are_stacks(self, groups: Mapping[_Key, Sequence[int]], *, apart: bool) -> bool:
        """Whether each group may be a stack, and each lies where another one does, unless they are `apart` anyway."""
        members = [np.array(group) for group in groups.values()]
        if len(members) < 2 or any(len(group) < 2 for group in members):
            return False
        if any(len(np.unique(self.place[group])) < len(group) for group in members):
            return False
        ends = [(float(self.depth[group].min()), float(self.depth[group].max())) for group in members]
        return apart or all(
            any(_overlap(one, other) for second, other in enumerate(ends) if second != first)
            for first, one in enumerate(ends)
        )

    def are_all(self, group: Sequence[int]) -> bool:
        """Whether a group has a slice in every place of the set."""
        return len(group) == len(np.unique(self.place))


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return shared >= 0.5 * min(one[1] - one[0], other[1] - other[0])


def _parts(slices: Sequence[Slice], words: Sequence[str], groups: Mapping[_Key, Sequence[int]]) -> tuple[Part, ...]:
    ordered = sorted(groups.items(), key=lambda item: [_sortable(values) for values in item[0]])
    varying = [_varying([key[number] for key in groups]) for number in range(len(words))]
    labels = [
        ",".join(f"{word}={_shown(values, at)}" for word, values, at in zip(words, key, varying, strict=True))
        for key, _ in ordered
    ]
    if any(len(label) > LONGEST_LABEL for label in labels) or len(set(labels)) < len(labels):
        labels = [_shortened(label, key) for label, (key, _) in zip(labels, ordered, strict=True)]
    return tuple(
        Part(label=label, slices=tuple(slices[index] for index in group))
        for label, (_, group) in zip(labels, ordered, strict=True)
    )


def _sortable(values: Sequence[str]) -> list[tuple[float, str]]:
    found = []
    for value in values:
        try:
            found.append((float(value), ""))
        except ValueError:
            found.append((float("inf"), value))
    return found


def _varying(keys: Sequence[Sequence[str]]) -> list[int]:
    """The positions of a multi-valued attribute at which the groups differ."""
    longest = max(len(key) for key in keys)
    return [at for at in range(longest) if len({key[at : at + 1] for key in keys}) > 1]


def _shown(values: Sequence[str], at: Sequence[int]) -> str:
    text = "/".join(values[position] for position in at if position < len(values))
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "._+-/ ")) or "none"


def _shortened(label: str, key: object) -> str:
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:8]
    return f"{label[: LONGEST_LABEL - 9]}~{digest}"
