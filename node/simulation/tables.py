"""A sweep as JSON, CSV and Markdown. The same plan gives the same bytes."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from node.simulation.measures import MEASURES, Estimate
from node.simulation.queue import CAP_MIN, Discipline
from node.simulation.sweep import Cell, Sweep

TITLES: Final = {
    Discipline.ARRIVAL: "first come, first served",
    Discipline.FLAG: "flagged first",
    Discipline.SCORE: "highest score first",
    Discipline.CAP: f"highest score, cap {CAP_MIN:g} min",
    Discipline.CREDIT: "credit minutes",
}
_HEADS: Final = {
    "emergencies_median": "emergencies median",
    "emergencies_mean": "mean",
    "emergencies_p95": "p95",
    "others_mean": "others mean",
    "others_p99": "p99",
    "missed_mean": "missed emergencies mean",
    "unseen_mean": "of them u <= 1/2",
    "longest": "longest",
}
_COLUMNS: Final = (
    "part", "what", "readers", "utilisation", "day", "rule", "bound_minutes", "measure", "minutes", "low", "high",
    "change", "change_low", "change_high",
)  # fmt: skip


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Plain values; what is not known is None."""
    plan, of = sweep.plan, sweep.characteristic
    characteristic = {"name": of.name, "auc": of.auc, "sensitivity": of.sensitivity, "specificity": of.specificity}
    cells = []
    for cell in sweep.cells:
        estimates = {
            name: {**_plain(value), "change": _plain(cell.changes[name])} for name, value in cell.measures.items()
        }
        site = {**asdict(cell.site), "day": cell.site.day is not None}
        cells.append(
            {
                "part": cell.part,
                "what": cell.what,
                "rule": cell.discipline.value,
                "bound_minutes": cell.bound_minutes,
                "site": site,
                "measures": estimates,
            }
        )
    return {
        "simulated": True,
        "plan": asdict(plan),
        "characteristic": characteristic,
        "acceptance": [
            {"name": line.name, **_plain(line.value), "wanted": line.wanted, "met": line.met} for line in sweep.lines
        ],
        "check": {name: {key: _number(value) for key, value in row.items()} for name, row in sweep.check.items()},
        "cells": cells,
    }


def as_csv(sweep: Sweep) -> str:
    """One row for each department, rule and measure; minutes, and the change against arrival order as a share."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(_COLUMNS)
    for cell in sweep.cells:
        site = cell.site
        head = [cell.part, cell.what, site.readers, site.utilisation, int(site.day is not None), cell.discipline.value]
        for name in MEASURES:
            found = [*_plain(cell.measures[name]).values(), *_plain(cell.changes[name]).values()]
            cells = ["" if value is None else f"{value:.6g}" for value in found]
            out.writerow([*head, f"{cell.bound_minutes:g}", name, *cells])
    return text.getvalue()


def as_markdown(sweep: Sweep, pictures: Mapping[str, str]) -> str:
    """For people. `pictures`: title -> file name beside the document."""
    return "\n".join(_document(sweep, pictures)) + "\n"


def lines_of(sweep: Sweep) -> Iterator[str]:
    """The lines of acceptance, one text for each, met or missed."""
    for line in sweep.lines:
        said = "met" if line.met else "MISSED"
        yield f"{said}: {line.name} {change_text(line.value)}, wanted {line.wanted}"


def change_text(one: Estimate) -> str:
    """A change as percent with its interval."""
    if math.isnan(one.value):
        return "-"
    between = "" if math.isnan(one.low) else f" ({one.low:+.0%} to {one.high:+.0%})"
    return f"{one.value:+.0%}{between}"


def _document(sweep: Sweep, pictures: Mapping[str, str]) -> Iterator[str]:
    plan, of, site = sweep.plan, sweep.characteristic, sweep.plan.site
    yield "# Waiting for a reader, simulated"
    yield ""
    yield (
        f"Simulated, not observed. Characteristic of the score: {of.name} (AUC {of.auc:.3f}; of emergencies "
        f"{of.sensitivity:.0%} flagged, of others {1 - of.specificity:.0%}). Reading takes "
        f"{site.service_minutes:g} min in the mean (log-normal, sigma {site.service_sigma:g}); {site.emergencies:.0%} "
        f"emergencies; {site.failed:.0%} not analysable; verdict after {site.turnaround_s:g} s; triage down "
        f"{site.down:.0%} of the time; bound B = {plan.bound_minutes:g} min. {plan.replications} replications of "
        f"{plan.cases} studies for each department, {plan.judged} times as many for the lines of acceptance; seed "
        f"{plan.seed}. Waits in minutes with 95 % intervals over replications; changes are against first come, first "
        "served, on the same studies."
    )
    yield ""
    yield "## Lines of acceptance, credit minutes, one reader, utilisation 0.8"
    yield ""
    for text in lines_of(sweep):
        yield f"* {text}"
    yield ""
    yield from _table([cell for cell in sweep.cells if cell.part == "acceptance"], changes=False)
    yield ""
    yield (
        "Missed emergencies were analysed and got no flag. Those of them whose percentile u is 1/2 or less earn no "
        "credit: every rule that moves others ahead makes them wait longer."
    )
    for title, name in pictures.items():
        yield ""
        yield f"![{title}]({name})"
    for part in ("any hour alike", "over a day"):
        found = [cell for cell in sweep.cells if cell.part == part]
        for what in dict.fromkeys(cell.what for cell in found):
            yield ""
            yield f"### {part.capitalize()}: {what}"
            yield ""
            yield from _table([cell for cell in found if cell.what == what], changes=True)
    yield ""
    yield "## What if: credit minutes against arrival order, one reader, utilisation 0.8"
    yield ""
    yield "| changed | " + " | ".join(_HEADS.values()) + " |"
    yield "|---" * (1 + len(_HEADS)) + "|"
    for cell in sweep.cells:
        if cell.part == "what if" and cell.discipline is Discipline.CREDIT:
            yield f"| {cell.what} | " + " | ".join(change_text(cell.changes[name]) for name in MEASURES) + " |"
    yield ""
    yield "## The simulation beside closed forms (Cobham 1954, Pollaczek and Khinchine), utilisation 0.8"
    yield ""
    yield "| mean wait, min | simulated | 95 % interval | exact |"
    yield "|---|---|---|---|"
    for name, row in sweep.check.items():
        yield f"| {name} | {row['value']:.2f} | {row['low']:.2f} to {row['high']:.2f} | {row['exact']:.2f} |"


def _table(cells: list[Cell], *, changes: bool) -> Iterator[str]:
    yield "| rule | " + " | ".join(_HEADS.values()) + " |"
    yield "|---" * (1 + len(_HEADS)) + "|"
    for cell in cells:
        shown = []
        for name in MEASURES:
            one, other = cell.measures[name], cell.changes[name]
            if math.isnan(one.value):
                shown.append("-")
            elif changes:
                shown.append(f"{one.value:.1f}" + ("" if math.isnan(other.value) else f" ({other.value:+.0%})"))
            else:
                shown.append(f"{one.value:.1f} ± {one.high - one.value:.1f}")
        yield f"| {TITLES[cell.discipline]} | " + " | ".join(shown) + " |"


def _plain(one: Estimate) -> dict[str, float | None]:
    return {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
