"""A pipeline is data: what it takes, which engine, which steps and checks, and what it gives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.volume import Volume

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Requires:
    """What the network was made for; outside of it a series is stored, not processed. Bounds belong to the range.

    modality:            of every slice
    minimum_slices:      fewer are refused
    pixel_spacing_mm:    both directions, Pixel Spacing (0028,0030)
    slice_thickness_mm:  Slice Thickness (0018,0050)
    kvp:                 KVP (0018,0060)
    tilt_deg_max:        largest angle between the slice normal and the stacking direction
    rows, columns:       of the image, pixels
    """

    modality: str
    minimum_slices: int
    pixel_spacing_mm: Range
    slice_thickness_mm: Range
    kvp: Range
    tilt_deg_max: float
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a volume is cut for the engine, (z, y, x); 0 means the whole axis.

    multiple_of: what the engine needs y and x to be a multiple of
    """

    shape: tuple[int, int, int]
    overlap: tuple[int, int, int] = (0, 0, 0)
    multiple_of: int = 8


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept (PS3.16 tables, PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the derived series says about itself.

    kind:        short name of the job in UIDs and descriptions
    series_code: first digits of the derived Series Number
    image_type:  Image Type (0008,0008), four values
    marker:      words that a reader sees in Series Description
    synthetic:   True when the image shows what no scanner measured
    derivation:  Derivation Code Sequence (0008,9215)
    purpose:     Purpose of Reference Code Sequence (0040,A170) on the source images
    operation:   plain words for Derivation Description (0008,2111)
    """

    kind: str
    series_code: int
    image_type: tuple[str, str, str, str]
    marker: str
    synthetic: bool
    derivation: Code
    purpose: Code
    operation: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure of one check.

    value:  what was measured, None when nothing could be measured
    limit:  the bound it was compared with
    passed: False holds the series for a person
    text:   one sentence with the figures, no patient data
    """

    name: str
    value: float | None
    limit: float
    passed: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the checks of one pipeline found on one result."""

    pipeline: str
    version: str
    findings: tuple[Finding, ...]

    @property
    def held(self) -> bool:
        """True when a person has to look first; a report without findings proves nothing and is held too."""
        return not self.findings or not all(finding.passed for finding in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that hold the result."""
        return tuple(finding for finding in self.findings if not finding.passed)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal report back."""
        return {"held": self.held, **asdict(self), "findings": [asdict(finding) for finding in self.findings]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The inverse of `to_json`; `held` is computed again, never believed."""
        findings = tuple(Finding(**finding) for finding in data["findings"])
        return cls(pipeline=data["pipeline"], version=data["version"], findings=findings)


class Step(Protocol):
    """Voxels in, voxels out, same shape; leaves its input alone."""

    def __call__(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]: ...


class Check(Protocol):
    """Compares a result with its source."""

    def __call__(self, source: Volume, result: Volume) -> tuple[Finding, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One thing the node can do to a series.

    engine:        name of the specification in engines/specs
    feed, output:  names of the engine's tensors
    keep_outside:  HU range the network works in; voxels outside of it, and padding, come back as they were
    """

    name: str
    version: str
    takes: Requires
    engine: str
    feed: str
    output: str
    keep_outside: Range
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    tiles: Tiles
    checks: tuple[Check, ...]
    gives: Images
