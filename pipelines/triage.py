"""What a pipeline says of a study instead of making images of it: a flag, a score and where to look."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from pipelines.report import Finding, Report
from pipelines.volume import Volume

MOST_SLICES = 8  # that a result points at (DICOM_SPEC 3.2, Secondary Capture)

Headers = Sequence[Mapping[str, tuple[str, ...]]]


class Flag(StrEnum):
    """What a triage says; never "normal" (DICOM_SPEC 3.2)."""

    RAISED = "FLAG_RAISED"
    NOT_RAISED = "FLAG_NOT_RAISED"
    NOT_ANALYSABLE = "NOT_ANALYSABLE"


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The result of a triage.

    score:      calibrated probability, 0 to 1; None if not analysable
    percentile: of the score among those of normals, 0 to 1; None if not analysable
    threshold:  the flag is raised from this score on
    features:   what the score was made of, by name
    reasons:    why it is not analysable: sentences without patient data
    slices:     places in the source, in geometric order, that show the strongest findings, the strongest first
    peak:       (z, y, x) of the strongest voxel, in the source's grid
    findings:   of the guards
    raises:     ValueError when flag and figures do not fit together
    """

    flag: Flag
    threshold: float
    score: float | None = None
    percentile: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()
    peak: tuple[int, int, int] | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        analysed = self.flag is not Flag.NOT_ANALYSABLE
        if analysed != (self.score is not None) or analysed != (self.percentile is not None):
            raise ValueError(f"{self.flag} goes with a score and a percentile, or without both.")
        if analysed == bool(self.reasons):
            raise ValueError(f"{self.flag} needs reasons exactly when nothing was analysed.")
        if self.score is not None and (self.score >= self.threshold) != (self.flag is Flag.RAISED):
            raise ValueError(f"{self.flag} does not go with score {self.score} and threshold {self.threshold}.")
        if any(not 0.0 <= one <= 1.0 for one in (self.score, self.percentile) if one is not None):
            raise ValueError("Score and percentile lie between 0 and 1.")
        if len(self.slices) > MOST_SLICES:
            raise ValueError(f"{len(self.slices)} slices; a result points at {MOST_SLICES} at most.")

    @classmethod
    def not_analysable(
        cls, reasons: Sequence[str], *, threshold: float, findings: Sequence[Finding] = ()
    ) -> "Assessment":
        """Nothing can be said of the series, and why."""
        return cls(
            flag=Flag.NOT_ANALYSABLE,
            threshold=threshold,
            reasons=tuple(dict.fromkeys(reasons)),
            findings=tuple(findings),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal assessment back."""
        findings = [{**asdict(one), "verdict": one.verdict.value} for one in self.findings]
        plain = {**asdict(self), "flag": self.flag.value, "features": dict(self.features), "findings": findings}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Assessment":
        """The inverse of `to_json`."""
        peak = data["peak"]
        report = Report.from_json({"pipeline": "", "version": "", "findings": data["findings"]})
        return cls(
            flag=Flag(data["flag"]),
            threshold=data["threshold"],
            score=data["score"],
            percentile=data["percentile"],
            features=dict(data["features"]),
            reasons=tuple(data["reasons"]),
            slices=tuple(data["slices"]),
            peak=None if peak is None else (int(peak[0]), int(peak[1]), int(peak[2])),
            findings=report.findings,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """What a triage saw, on the grid of its source.

    z:       (z, y, x) float32, signed distance from what normals show, in standard deviations; 0 outside the brain
    region:  (z, y, x) bool, where it is beyond what normals show
    healthy: (z, y, x) float32 HU, the pseudo-healthy image; the source itself outside the brain
    raises:  ValueError when shapes or types do not fit together
    """

    z: NDArray[np.float32]
    region: NDArray[np.bool_]
    healthy: NDArray[np.float32]

    def __post_init__(self) -> None:
        if not self.z.shape == self.region.shape == self.healthy.shape or self.z.ndim != 3:
            raise ValueError(f"maps of shapes {self.z.shape}, {self.region.shape}, {self.healthy.shape}")
        if any(a.dtype != np.dtype(b) for a, b in ((self.z, "f4"), (self.region, "?"), (self.healthy, "f4"))):
            raise ValueError(f"maps of types {self.z.dtype}, {self.region.dtype}, {self.healthy.dtype}")


class Assess(Protocol):
    """Looks at a whole series. Never raises for what a series holds: then it is not analysable, with the reason.

    headers:  of the source slices, in geometric order
    values:   what the rule chose for this job
    progress: called with (slices done, slices in all) of the network
    returns:  the assessment, and its maps unless nothing could be analysed
    raises:   ShapeOutsideProfile, EngineFailed
    """

    def __call__(
        self,
        engine: Engine,
        volume: Volume,
        headers: Headers,
        values: Mapping[str, Any],
        progress: Callable[[int, int], None],
    ) -> tuple[Assessment, Maps | None]: ...


@dataclass(frozen=True, kw_only=True)
class Triage:
    """How a pipeline triages.

    threshold: of its score; what is not analysable says it, too
    candidate: why a series is none that this triage is for at all (a localizer, another part of the body), from its
               headers; empty: it is one, and a triage of it has a result, if only "not analysable"
    assess:    looks at it
    """

    threshold: float
    candidate: Callable[[Headers], list[str]]
    assess: Assess
