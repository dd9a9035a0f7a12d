"""The table of the guards: what was counted, as JSON and as GUARDS.md."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pipelines.ct_denoise import CT_DENOISE
from pipelines.limits import GuardLimits
from pipelines.pipeline import Finding, Verdict
from tests.bench.guard_faults import ASKED

WANTED_DETECTED, WANTED_FALSE = 0.95, 0.01


@dataclass
class Tally:
    """Verdicts over series for one row of the table."""

    total: int = 0
    held: int = 0
    marked: int = 0
    by: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def add(self, name: str, findings: tuple[Finding, ...]) -> None:
        """Count one series."""
        alarms = [finding for finding in findings if finding.verdict is not Verdict.PASS]
        self.total += 1
        self.held += any(finding.verdict is Verdict.REJECT for finding in alarms)
        self.marked += bool(alarms)
        self.by.update({finding.name for finding in alarms})
        if not alarms:
            self.missed.append(name)

    def to_json(self) -> dict[str, Any]:
        """Counts and shares."""
        share = self.marked / self.total if self.total else 0.0
        return {"n": self.total, "held": self.held, "held_or_marked": self.marked, "share": round(share, 4),
                "by": dict(self.by.most_common())}  # fmt: skip


def report(rows: Mapping[str, Tally], limits: GuardLimits, cost: float, sha256: str) -> dict[str, Any]:
    """The figures, with `acceptance` as `imaging-node evaluate` has it."""
    clean = rows["clean"]
    acceptance = [
        {"name": "false alarms", "value": clean.marked / clean.total, "wanted": WANTED_FALSE,
         "passed": clean.marked / clean.total <= WANTED_FALSE}
    ]  # fmt: skip
    for label, tally in rows.items():
        if promised(label):
            share = tally.marked / tally.total
            acceptance.append(
                {"name": label, "value": share, "wanted": WANTED_DETECTED, "passed": share >= WANTED_DETECTED}
            )
    return {
        "engine_sha256": sha256,
        "limits": {one.name: getattr(limits, one.name) for one in fields(limits)},
        "rows": {label: tally.to_json() for label, tally in rows.items()},
        "missed": {label: tally.missed for label, tally in rows.items() if label != "clean" and tally.missed},
        "checks_ms_per_slice": round(cost, 2),
        "acceptance": acceptance,
    }


def promised(label: str) -> bool:
    """Whether NETWORKS.md E names the fault of a row."""
    return any(label == name or label.startswith(f"{name} (") for name in ASKED)


def table(rows: Mapping[str, Tally], limits: GuardLimits, cost: float) -> list[str]:
    """GUARDS.md."""
    clean = rows["clean"]
    known = CT_DENOISE.version
    lines = [
        "# Guards of ct-denoise: false alarms and injected faults",
        "",
        "Made by `python -m tests.bench.guards --calibrate`. Limits come from one half of the public scans, this",
        "table from the other; the halves share no patient (`tests/bench/guard_series.py`). Every series went through",
        "the shipped network: simulated noise of 8 to 45 HU on cleaned slices, soft to sharp kernels, and the scans",
        "as they came. Headers are made, complete and inside the envelope. Three slices each; a changed structure is",
        "in one of them.",
        "",
        f"Pipeline {known}, weights `{limits.engine_sha256[:20]}…`. All checks together: {cost:.1f} ms per slice of",
        "512x512 on one core, without the network's run on one slice of 20.",
        "",
        f"**False alarms: {clean.marked} of {clean.total} clean series** (upper 95 % bound "
        f"{100 * upper_bound(clean.marked, clean.total):.1f} %), {clean.held} of them held. Wanted: at most 1 %.",
        "",
        "| fault | series | held | held or marked | seen by |",
        "|---|---|---|---|---|",
    ]
    for label, tally in rows.items():
        if label != "clean":
            by = ", ".join(f"{name} {100 * count // tally.total} %" for name, count in tally.by.most_common(4))
            mark = "" if promised(label) else " *"
            lines.append(
                f"| {label}{mark} | {tally.total} | {100 * tally.held / tally.total:.1f} % | "
                f"{100 * tally.marked / tally.total:.1f} % | {by} |"
            )
    lines += ["", "\\* measured, not promised.", "", "| limit | value |", "|---|---|"]
    lines += [f"| {one.name} | {getattr(limits, one.name)} |" for one in fields(limits) if one.name != "engine_sha256"]
    return lines


def upper_bound(count: int, total: int) -> float:
    """Clopper-Pearson, one-sided 95 %: the share at which so few or fewer have a chance of 5 %."""
    low, high = count / total, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        term = chance = (1 - middle) ** total
        for k in range(count):
            term *= (total - k) / (k + 1) * middle / max(1 - middle, 1e-12)
            chance += term
        low, high = (middle, high) if chance > 0.05 else (low, middle)
    return high
