"""What is measured of triage in service: by scanner, from the verdicts on record."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from node.log import log
from node.metrics import count_triage
from node.records.triage_history import Verdict, history
from node.settings.scanners import Scanner
from node.worklist.drift import BASELINE, Drift, Seen, drift
from node.worklist.scanners import labels
from pipelines.triage import Flag


def by_scanner(connection: Connection, scanners: Sequence[Scanner]) -> dict[str, Drift]:
    """How each scanner's triage behaves, those without a verdict too; by the label of its metrics."""
    rates = {one.name: one.alarm_rate for one in scanners}
    return {name: _drift(connection, name, rates.get(name)) for name in labels(scanners)}


def decided(connection: Connection, row: Mapping[str, Any], scanners: Sequence[Scanner]) -> bool:
    """Count a new verdict, and warn in the log if it is the one that makes the alarm rate unbelievable.

    row:     of the table of verdicts, recorded already
    returns: whether there was a warning
    """
    count_triage(row["scanner"], Flag(row["flag"]), row["decided_at"] - row["arrived_at"])
    rate = {one.name: one.alarm_rate for one in scanners}.get(row["scanner"])
    first, newer = history(connection, row["scanner"], baseline=BASELINE)
    now = drift(_seen(first), _seen(newer), accepted_rate=rate)
    before = drift(_seen(first if newer else first[:-1]), _seen(newer[:-1]), accepted_rate=rate)
    if now.sums is None or not now.sums.crossed or (before.sums is not None and before.sums.crossed):
        return False
    log.warning("triage drifts", scanner=row["scanner"], found=list(now.warnings), **_rounded(asdict(now.sums)))
    return True


def _drift(connection: Connection, scanner: str, rate: float | None) -> Drift:
    first, newer = history(connection, scanner, baseline=BASELINE)
    return drift(_seen(first), _seen(newer), accepted_rate=rate)


def _seen(rows: Sequence[Verdict]) -> list[Seen]:
    return [Seen(flag=Flag(row.flag), percentile=row.percentile) for row in rows]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
