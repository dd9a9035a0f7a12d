"""What the checks of a pipeline found: figures with their limits, and the verdict over them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a figure means for the series, from good to bad: deliver, deliver with a mark, keep for a person."""

    PASS = "pass"  # noqa: S105  no password
    CAUTION = "caution"
    REJECT = "reject"

    @classmethod
    def worst(cls, verdicts: Sequence["Verdict"]) -> "Verdict":
        """The worst of several; nothing judged is a reject, since it proves nothing."""
        order = list(cls)
        return max(verdicts, key=order.index) if verdicts else cls.REJECT


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure of one check.

    value:   what was measured, None when nothing could be measured
    limit:   the bound it was compared with
    verdict: reject holds the series for a person, caution marks it
    version: of the check, which changes with its arithmetic; limits belong to the pipeline's version
    text:    one sentence with the figures, no patient data
    """

    name: str
    value: float | None
    limit: float
    verdict: Verdict
    version: str
    text: str


_FIRST_VERSION = "1.0.0"  # of the checks that knew only passed and failed


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the checks of one pipeline found on one result.

    released: names of findings that a person let pass; their reject counts as a caution
    """

    pipeline: str
    version: str
    findings: tuple[Finding, ...]
    released: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings; a report without findings proves nothing and is a reject."""
        return Verdict.worst([self.counted(finding) for finding in self.findings])

    def counted(self, finding: Finding) -> Verdict:
        """What a finding counts as, after what a person let pass."""
        let_pass = finding.verdict is Verdict.REJECT and finding.name in self.released
        return Verdict.CAUTION if let_pass else finding.verdict

    @property
    def held(self) -> bool:
        """True when a person has to look before anything leaves."""
        return self.verdict is Verdict.REJECT

    @property
    def caution(self) -> bool:
        """True when the result may leave, with a mark that its reader sees."""
        return self.verdict is Verdict.CAUTION

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that hold the result."""
        return tuple(finding for finding in self.findings if self.counted(finding) is Verdict.REJECT)

    @property
    def cautions(self) -> tuple[Finding, ...]:
        """The findings that mark the result."""
        return tuple(finding for finding in self.findings if self.counted(finding) is Verdict.CAUTION)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal report back."""
        findings = [{**asdict(finding), "verdict": finding.verdict.value} for finding in self.findings]
        return {"held": self.held, "verdict": self.verdict.value, **asdict(self), "findings": findings}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The inverse of `to_json`; `held` and the report's verdict are computed again, never believed."""
        findings = tuple(_finding(finding) for finding in data["findings"])
        released = tuple(data.get("released") or ())
        return cls(pipeline=data["pipeline"], version=data["version"], findings=findings, released=released)


def _finding(data: Mapping[str, Any]) -> Finding:
    fields = dict(data)
    if "passed" in fields:  # as records before 0.3 have it
        fields["verdict"] = Verdict.PASS if fields.pop("passed") else Verdict.REJECT
    fields.setdefault("version", _FIRST_VERSION)
    return Finding(**{**fields, "verdict": Verdict(fields["verdict"])})
