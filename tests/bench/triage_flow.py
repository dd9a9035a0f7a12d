"""python -m tests.bench.triage_flow: last slice of a head CT in to its verdict and its report out, past routine series.

The routine series are complete and wait before the head comes; the first of them is in the engine. A notice is queued
in the transaction of the verdict (`node/processing/triaging.py`). Prints Markdown, then one JSON object.

    python -m tests.bench.triage_flow SETTINGS.toml        the worker of such a node, until SIGTERM
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text

from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from pipelines.head_ct_triage import HEAD_CT_TRIAGE
from tests import urgent_case
from tests.bench.flow import report
from tests.bench.transfer import peak_mb
from tests.head_ct import Bleeding, paint, write
from tests.peers import dcmsend, wait_until
from tests.running_node import AE_TITLE, settings_for
from tests.two_series import StudyNode, work

WANTED_S: Final = 20.0  # TARGETS.md
REPORT: Final = "last slice in to the report delivered"
RULES: Final = (
    {"name": "triage", "pipeline": HEAD_CT_TRIAGE.name},
    {"name": "routine", "pipeline": "ct-denoise", "where": {"BodyPartExamined": "ABDOMEN"}},
)


class Node(StudyNode):
    """With the pipelines that ship; small: those of `tests/urgent_case.py`, where head or network is not at hand."""

    worker = "tests.bench.triage_flow"

    def __init__(self, folder: Path, *, threads: int, small: bool) -> None:
        engines: dict[str, Any] = {"threads": threads}
        if small:
            self.worker = "tests.urgent_case"
            engines["folder"] = str(urgent_case.install_engine(folder / "engines"))
        self.settle(folder, settings_for(folder, rules=urgent_case.RULES if small else RULES, engines=engines))


def measure(given: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Figures, one value for each head."""
    heads = [_head(folder / f"head {n}", f"head {n}", given) for n in range(given.runs)]
    routine = [_routine(folder / f"routine {n}", f"routine {n}", given) for n in range(given.routine)]
    found: dict[str, list[float]] = {}
    with Node(folder / "node", threads=given.threads, small=given.small) as node:
        for number, files in enumerate(routine):
            _send(node, files)
            sys.stderr.write(f"routine {number + 1} of {len(routine)} sent\n")
        wait_until("a routine series is in the engine", lambda: "infer" in _ask(node, "stage"), timeout_s=600)
        for number, files in enumerate(heads):
            waiting = len(routine) - _ask(node, "state").count("delivered") + number
            began_s = _cpu_s(node)
            _send(node, files)
            row = _verdict(node, number + 1) | {"CPU of the worker and its children meanwhile": _cpu_s(node) - began_s}
            for name, value in {"routine series waiting or under way": float(waiting), **row}.items():
                found.setdefault(name, []).append(value)
            sys.stderr.write(f"head {number + 1} of {len(heads)}: {row}\n")
        found["memory"] = [peak_mb(node._processes["worker"].pid)]
    return found


def _head(folder: Path, key: str, given: argparse.Namespace) -> list[Path]:
    if given.small:
        return urgent_case.write_series(folder, key, part="HEAD", slices=given.head_slices, hu=900.0)
    return write(folder, paint(given.head, bleeding=[Bleeding()], slices=given.head_slices), key=key)


def _routine(folder: Path, key: str, given: argparse.Namespace) -> list[Path]:
    if given.small:
        return urgent_case.write_series(folder, key, slices=given.slices)
    scan = Scan(key=key, patient_name="A^B", patient_id="B")
    voxels = make_volume(slices=given.slices)
    return write_ct_series(folder, voxels, scan=scan, spacing_mm=(2.0, 0.8, 0.8), first_mm=(-200.0, -200.0, 0.0))


def _send(node: Node, files: Sequence[Path]) -> None:
    (sent,) = dcmsend(node.port, files, called=AE_TITLE)
    assert sent.stored == len(files), sent.output


def _cpu_s(node: Node) -> float:
    """What the worker and its children have used; on a busy machine more telling than the clock."""
    worker = node._processes["worker"].pid
    children = [
        pid for task in Path(f"/proc/{worker}/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    ticks = 0
    for pid in {str(worker), *children}:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime: proc_pid_stat(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _ask(node: Node, column: str) -> list[str]:
    with closing(node.records()) as records, records.read() as connection:
        return [row[0] for row in connection.execute(text(f"SELECT {column} FROM jobs")).all()]  # noqa: S608  ours


def _verdict(node: Node, number: int) -> dict[str, float]:
    query = text(
        "SELECT t.arrived_at, t.decided_at, t.flag, s.frozen_at, j.first_out_at, j.state, j.seconds FROM triages t "
        "JOIN jobs j ON j.id = t.job_id JOIN sets s ON s.id = j.set_id ORDER BY t.decided_at DESC"
    )

    def rows() -> Sequence[Any]:
        with closing(node.records()) as records, records.read() as connection:
            return connection.execute(query).all()

    wait_until("the report is delivered", lambda: [r.state for r in rows()].count("delivered") == number, timeout_s=900)
    row = rows()[0]
    sys.stderr.write(f"{row.flag}\n")
    return {
        "last slice in to the set complete": row.frozen_at - row.arrived_at,
        "last slice in to the verdict, with its notices queued": row.decided_at - row.arrived_at,
        REPORT: row.first_out_at - row.arrived_at,
        **{f"of it {stage}": seconds for stage, seconds in json.loads(row.seconds).items()},
    }


def conclude(title: str, found: Mapping[str, Sequence[float]], load: float) -> None:
    """Print Markdown, then one JSON object with the line of acceptance."""
    figures = {what: values for what, values in found.items() if what != "memory"}
    print("\n".join(report(title, figures, {"worker": found["memory"][0]})))
    value = statistics.median(figures[REPORT])
    line = {"name": REPORT, "value": value, "wanted": WANTED_S, "passed": value <= WANTED_S}
    print(json.dumps({"load before": load, "figures": figures, "acceptance": [line]}))


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 2 and sys.argv[1].endswith(".toml"):
        work(Path(sys.argv[1]), (HEAD_CT_TRIAGE,))
        return
    parser = argparse.ArgumentParser(prog="python -m tests.bench.triage_flow", description=__doc__)
    parser.add_argument("--routine", type=int, default=20, help="series that wait (default 20)")
    parser.add_argument("--slices", type=int, default=100, help="of each routine series (default 100)")
    parser.add_argument("--head", type=int, default=5, help="label map of the head (default 5)")
    parser.add_argument("--head-slices", type=int, default=40, help="of the head CT (default 40)")
    parser.add_argument("--runs", type=int, default=3, help="heads, one after the other (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engines (default: all cores)")
    parser.add_argument("--small", action="store_true", help="the small network of the tests, on noise")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
        found = measure(given, Path(scratch))
    conclude(f"{given.head_slices} slices past {given.routine} series of {given.slices}", found, load)


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}. `--small` needs neither.")
