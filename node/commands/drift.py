"""`imaging-node drift`: whether triage behaves as it did when each scanner was accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.records.database import Records
from node.settings.scanners import Scanner
from node.worklist.drift import BASELINE, ENOUGH, WINDOW
from node.worklist.watch import by_scanner

_NONE: Final = "-"


def drift(records: Records, scanners: Sequence[Scanner]) -> dict[str, Any]:
    """Everything that is measured of each scanner, as plain values by its label."""
    with records.read() as connection:
        found = by_scanner(connection, scanners)
    return {
        "window": WINDOW,
        "baseline": BASELINE,
        "scanners": {name: {**asdict(one), "warnings": list(one.warnings)} for name, one in found.items()},
    }


def text(found: Mapping[str, Any]) -> RenderableType:
    """For people."""
    table = Table(box=None)
    for head in ("scanner", "studies", "not\nanalysable", "alarm\nrate", "expected", "CUSUM", "PSI", "KS p", "EWMA"):
        table.add_column(head, justify="left" if head == "scanner" else "right", no_wrap=True)
    lines = []
    for name, one in found["scanners"].items():
        sums = one["sums"]
        table.add_row(
            name,
            str(one["studies"]),
            _share(one["not_analysable"]),
            _share(one["alarm_rate"]),
            _share(one["expected_rate"]) + ("" if one["of_settings"] or one["expected_rate"] is None else "*"),
            _NONE if sums is None else f"{max(sums['rose'], sums['fell']):.1f} of {sums['limit']:.1f}",
            _NONE if one["psi"] is None else f"{one['psi']:.2f}",
            _NONE if one["ks_chance"] is None else f"{one['ks_chance']:.2g}",
            _NONE if one["ewma"] is None else f"{one['ewma']:+.1f}",
        )
        lines += [Text(f"{name}: {line}", style="yellow") for line in one["warnings"]]
    note = (
        f"Of the newest {found['window']} studies. * of the scanner's first {found['baseline']}. PSI, KS and EWMA "
        f"compare scores with those, from {ENOUGH} newer studies on."
    )
    return Group(table, *lines, Text(note))


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0%}"
