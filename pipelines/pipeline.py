"""A pipeline is data: what it takes, which engine, which steps and checks, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.match import Condition
from pipelines.parameters import NO_PARAMETERS, Chooser
from pipelines.report import Finding
from pipelines.role import Judge, Registered, Together
from pipelines.triage import Triage
from pipelines.volume import Volume

Range = tuple[float, float]


class Tilt(StrEnum):
    """What becomes of a stack whose slices lean (gantry tilt)."""

    REFUSE = "refuse"  # beyond `tilt_deg_max`; up to there the network takes the slices as they are
    CORRECT = "correct"  # up to `tilt_deg_max` the network gets an upright volume; beyond, the series is refused


@dataclass(frozen=True, kw_only=True)
class Requires:
    """What the network was made for; outside of it a series is stored, not processed. Bounds belong to the range.

    modality:            of every slice
    minimum_slices:      fewer are refused
    pixel_spacing_mm:    both directions, Pixel Spacing (0028,0030)
    slice_thickness_mm:  Slice Thickness (0018,0050)
    kvp:                 KVP (0018,0060); None where the modality has none
    tilt_deg_max:        largest angle between the slice normal and the stacking direction
    rows, columns:       of the image, pixels
    tilt:                what becomes of a tilted stack
    """

    modality: str
    minimum_slices: int
    pixel_spacing_mm: Range
    slice_thickness_mm: Range
    kvp: Range | None = None
    tilt_deg_max: float
    rows: tuple[int, int]
    columns: tuple[int, int]
    tilt: Tilt = Tilt.REFUSE


@dataclass(frozen=True, kw_only=True)
class Role:
    """One series of several that a pipeline takes.

    takes:    what the series has to be, as for a pipeline with one
    where:    conditions that tell it from the series of other roles; rules add their own
    required: without an optional one the pipeline runs too, where a rule says `missing = "proceed"`
    judge:    what else speaks against a series in this role; None where nothing does
    register: how it is brought to the grid; None: it has to lie on the grid, or the job is refused
    """

    takes: Requires
    where: Mapping[str, Condition] = field(default_factory=dict)
    required: bool = True
    judge: Judge | None = None
    register: Registered | None = None


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a volume is cut for the engine, (z, y, x); 0 means the whole axis.

    multiple_of: what the engine needs y and x to be a multiple of
    """

    shape: tuple[int, int, int]
    overlap: tuple[int, int, int] = (0, 0, 0)
    multiple_of: int = 8


def _never(values: Mapping[str, Any]) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the derived series says about itself. Texts may name values of the job: `{target}`.

    kind:         row of `node.dicom.codes.OUTPUTS`, which holds the codes and labels that go with it
    marker:       words that a reader sees in Series Description; {spacing_mm} is the distance of its slices
    operation:    plain words for Derivation Description (0008,2111)
    elements:     DICOM keyword -> text of an element that differs from the source's
    note:         sentences at the end of Derivation Description: figures of the network that its images owe the reader
    whole_volume: whether a job with these values makes every slice from all slices of the source, not only from those
                  in the reach of the engine
    """

    kind: str
    marker: str
    operation: str
    elements: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    whole_volume: Callable[[Mapping[str, Any]], bool] = _never

    def told(self, values: Mapping[str, Any]) -> "Images":
        """The same with the values of a job in its texts. raises: KeyError for a value that the job lacks"""
        elements = {keyword: text.format_map(values) for keyword, text in self.elements.items()}
        marker, note = self.marker.format_map(values), self.note.format_map(values)
        return replace(self, marker=marker, note=note, elements=elements)


def _no_map(index: int) -> NDArray[np.float32] | None:
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """What a check may look at.

    source, result: before and after
    headers:        of every source slice, in geometric order: DICOM keyword -> its values as text; empty when there
                    is no DICOM, as in tests of the arithmetic
    again:          the pipeline once more, same steps and parameters, with (y, x) in the place of the source's slice
                    of that index; gives what stands for that slice in the result: (y, x), or (factor, y, x)
    parameters:     what the rule chose for this pipeline
    facts:          of the whole volumes, as `Pipeline.facts` gave them
    factor:         slices of the result for one of the source
    unsure:         the map of one slice (y, x), made anew; None of a pipeline without a map
    """

    source: Volume
    result: Volume
    headers: Sequence[Mapping[str, tuple[str, ...]]]
    again: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
    parameters: Mapping[str, Any]
    facts: Mapping[str, float] = field(default_factory=dict)
    factor: int = 1
    unsure: Callable[[int], NDArray[np.float32] | None] = _no_map


class Unfit(Exception):
    """A volume is not what a pipeline can work on: the fact, then the fix."""

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


class Step(Protocol):
    """Voxels in, voxels out, same shape, of a slice or of several; leaves its input alone."""

    def __call__(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]: ...


class Check(Protocol):
    """Compares a result with its source. Never raises for what a series holds: that is what its findings say."""

    def __call__(self, case: Checked) -> tuple[Finding, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What one job was asked for, as `Pipeline.feeds` needs it.

    values:   of the job, plain JSON; what the rule chose, settled with the headers of the series
    pixel_mm: side of a pixel; of pixels that are not square, the mean of both sides
    facts:    of the whole volumes, as `Pipeline.facts` gave them
    near:     (2 c + 1, y, x): the slice with the c before and the c after it, padded as the slice is; beyond the
              ends of the volume the last slice stands again
    others:   of pipelines that take several series: role -> the same places of that series, (2 c + 1, y, x), padded;
              an optional role that is missing has no key
    """

    values: Mapping[str, Any]
    pixel_mm: float
    facts: Mapping[str, float] = field(default_factory=dict)
    near: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    others: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Feeds(Protocol):
    """What an engine with several inputs is given for one slice: (y, x) after padding -> input name -> array."""

    def __call__(self, image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]: ...


class Makes(Protocol):
    """What becomes of the network's answer for one slice: (k, y, x) of `Pipeline.output` -> (factor, y, x).

    parameters: as the feeds got them, cut to the slice's own size
    """

    def __call__(self, answer: NDArray[np.float32], parameters: Parameters) -> NDArray[np.float32]: ...


class Finishes(Protocol):
    """What is left to do when all slices are made: changes the result in place, (z factor, y, x)."""

    def __call__(self, result: NDArray[np.float32], source: Volume, parameters: Parameters) -> None: ...


class MapOf(Protocol):
    """A map that goes with the result, for one slice: -> (factor, y, x).

    answers: every output of the engine, (k, y, x)
    made:    (factor, y, x), what stands in the result
    """

    def __call__(
        self, answers: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32], parameters: Parameters
    ) -> NDArray[np.float32]: ...


class MapFinishes(Protocol):
    """What is left to do with the map when the result is finished: changes the map in place, (z factor, y, x)."""

    def __call__(
        self, added: NDArray[np.float32], result: NDArray[np.float32], source: Volume, parameters: Parameters
    ) -> None: ...


def _one(answer: NDArray[np.float32], parameters: Parameters) -> NDArray[np.float32]:
    return answer


def _one_for_one(values: Mapping[str, Any]) -> int:
    return 1


def _no_facts(volume: Volume) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One thing the node can do to a series.

    engine:        name of the specification in engines/specs
    feed, output:  names of the engine's tensors
    feeds:         for engines that take more than the slice; without it they are given {feed: slice}
    parameters:    what a rule may choose
    context:       slices on each side that the feeds look at
    facts:         what is measured on the whole volumes once, before any slice is made; may raise `Unfit`
    factor:        slices that are made for one that came, from the values of a job
    makes:         what becomes of the network's answer; without it the answer is one slice, and that is it
    finishes:      what is done to the result when all of its slices are there
    map_of:        the map that a rule may ask for beside the result; None where there is none. It is 0 where a voxel of
                   the source came back as it was
    map_finishes:  what is done to the map after `finishes`, which may have made other voxels of those it was made with
    keep_outside:  HU range the network works in; voxels outside of it, and padding, come back as they were
    takes:         what the series has to be; of several, the one that defines the grid
    roles:         by name, for a pipeline that takes several series of a study; empty for one that takes one
    grid:          the role on whose slices the result lies and of which it is derived
    least:         of the optional roles, so many have to be there
    together:      what speaks against series of a study that would each do; None where nothing does
    triage:        of a pipeline that says something of the study: it makes no images slice by slice, `gives` is the
                   pseudo-healthy series, and nothing that it looks at holds it; None of the others
    raises:        ValueError when the roles do not fit together
    """

    name: str
    version: str
    takes: Requires
    roles: Mapping[str, Role] = field(default_factory=dict)
    grid: str = ""
    least: int = 0
    together: Together | None = None
    triage: Triage | None = None
    engine: str
    feed: str
    output: str
    feeds: Feeds | None = None
    parameters: Chooser = NO_PARAMETERS
    context: int = 0
    facts: Callable[[Volume], Mapping[str, float]] = _no_facts
    factor: Callable[[Mapping[str, Any]], int] = _one_for_one
    makes: Makes = _one
    finishes: Finishes | None = None
    map_of: MapOf | None = None
    map_finishes: MapFinishes | None = None
    keep_outside: Range
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    tiles: Tiles
    checks: tuple[Check, ...]
    gives: Images

    def __post_init__(self) -> None:
        if self.map_of is not None and self.takes.tilt is Tilt.CORRECT:
            raise ValueError(f"{self.name} has a map, which is not brought back to the slices of a tilted stack.")
        if self.triage is not None and (self.roles or self.map_of is not None):
            raise ValueError(f"{self.name} triages: it takes one series and has no map of the kind that images have.")
        if not self.roles:
            if self.grid:
                raise ValueError(f"{self.name} names a grid, but takes one series.")
            return
        if len(self.roles) < 2 or self.grid not in self.roles or not self.roles[self.grid].required:
            raise ValueError(f"{self.name} needs two roles or more, and a grid that is a required one of them.")
        if self.takes != self.roles[self.grid].takes:
            raise ValueError(f"{self.name} takes another series than its role {self.grid} does.")
        if self.least > len(self.optional):
            raise ValueError(f"{self.name} needs {self.least} of {len(self.optional)} optional roles.")

    @property
    def registers(self) -> frozenset[str]:
        """The roles that are brought to the grid."""
        return frozenset(name for name, role in self.roles.items() if role.register is not None)

    @property
    def optional(self) -> frozenset[str]:
        """The roles that it runs without."""
        return frozenset(name for name, role in self.roles.items() if not role.required)
