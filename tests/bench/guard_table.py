"""The table of the guards: what was counted, as JSON and as GUARDS.md."""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.report import Finding, Verdict

TABLE = Path(__file__).parent / "GUARDS.md"
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


def report(
    rows: Mapping[str, Tally], limits: Any, cost: float, sha256: str, *, asked: Collection[str]
) -> dict[str, Any]:
    """The figures, with `acceptance` as `imaging-node evaluate` has it.

    limits: dataclass of a pipeline's limits
    cost:   of all checks, in the unit that the section says
    asked:  faults that have to be seen
    """
    clean = rows["clean"]
    acceptance = [
        {"name": "false alarms", "value": clean.marked / clean.total, "wanted": WANTED_FALSE,
         "passed": clean.marked / clean.total <= WANTED_FALSE}
    ]  # fmt: skip
    for label, tally in rows.items():
        if promised(label, asked):
            share = tally.marked / tally.total
            acceptance.append(
                {"name": label, "value": share, "wanted": WANTED_DETECTED, "passed": share >= WANTED_DETECTED}
            )
    return {
        "engine_sha256": sha256,
        "limits": asdict(limits),
        "rows": {label: tally.to_json() for label, tally in rows.items()},
        "missed": {label: tally.missed for label, tally in rows.items() if label != "clean" and tally.missed},
        "checks_cost": round(cost, 2),
        "acceptance": acceptance,
    }


def promised(label: str, asked: Collection[str]) -> bool:
    """Whether the fault of a row is among those that have to be seen."""
    return any(label == name or label.startswith(f"{name} (") for name in asked)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a table says of itself: one pipeline's part of GUARDS.md.

    lines:  under the title, before the false alarms
    asked:  faults that have to be seen
    limits: name -> value
    """

    title: str
    lines: tuple[str, ...]
    asked: Collection[str]
    limits: Mapping[str, Any]

    def table(self, rows: Mapping[str, Tally]) -> list[str]:
        """The part, as lines of Markdown."""
        clean = rows["clean"]
        lines = [
            f"# {self.title}",
            "",
            *self.lines,
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
                mark = "" if promised(label, self.asked) else " *"
                lines.append(
                    f"| {label}{mark} | {tally.total} | {100 * tally.held / tally.total:.1f} % | "
                    f"{100 * tally.marked / tally.total:.1f} % | {by} |"
                )
        lines += ["", "\\* measured, not promised.", "", "| limit | value |", "|---|---|"]
        return [*lines, *(f"| {name} | {value} |" for name, value in self.limits.items())]


def put_section(lines: Sequence[str], file: Path = TABLE) -> None:
    """Put a part of GUARDS.md in the place of the one with the same title, or behind all others."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    parts = [part.strip() for part in re.split(r"^(?=# )", text, flags=re.MULTILINE) if part.strip()]
    mine, title = "\n".join(lines).strip(), lines[0]
    at = next((number for number, part in enumerate(parts) if part.split("\n", 1)[0] == title), len(parts))
    parts[at : at + 1] = [mine]
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


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


def asked_for(command: str, about: str | None, *, few: str, threads: int) -> argparse.Namespace:
    """What such a bench may be asked for: calibrate, few, threads, json.

    few:     what is then looked at; no table is written
    threads: of the engine, if nothing is said
    """
    parser = argparse.ArgumentParser(prog=command, description=about)
    parser.add_argument("--calibrate", action="store_true", help="write new limits before the table is made")
    parser.add_argument("--few", action="store_true", help=f"{few}; writes no table")
    parser.add_argument("--threads", type=int, default=threads, help=f"of the engine (default {threads})")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    return parser.parse_args()


def teller() -> Callable[[str], None]:
    """Says on standard error how far a bench is, with the seconds since now."""
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {text}\n")

    return say


def conclude(
    given: argparse.Namespace, about: Section, rows: Mapping[str, Tally], limits: Any, cost: float, sha256: str
) -> None:
    """Write the table unless few were looked at, print it and the JSON object. Arguments as those of `report`."""
    lines = about.table(rows)
    if not given.few:
        put_section(lines)
    if not given.json:
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(json.dumps(report(rows, limits, cost, sha256, asked=about.asked)) + "\n")
