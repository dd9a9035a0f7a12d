"""python -m tests.bench.superres: last thick slice in to the last thin slice out, through a whole running node.

40 time-of-flight slices of 4 mm, 512x512, become 160 of 1 mm; DCMTK sends and receives. Prints Markdown, then one JSON
object with the line of acceptance: 30 s on two cores.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pipelines.mra_superres import MRA_SUPERRES
from tests.bench.closing import LAST_OUT, conclude
from tests.bench.flow import STAGES
from tests.bench.peers import Scp
from tests.bench.transfer import FAST, dcmsend_s, peak_mb, running
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.tof_phantom import Grid, angiography, write_tof

WANTED_S = 30.0
GRID = Grid(pixel_mm=(0.4, 0.4))


def measured(folder: Path, *, slices: int, side: int, runs: int, threads: int) -> dict[str, Any]:
    """Series through a running node to a storescp; one more run than counted comes first.

    returns: figure -> one value for each run, s; process of the node -> peak resident memory, MB, under "memory"
    """
    voxels = angiography((slices, side, side))
    found: dict[str, Any] = {}
    with running(Scp(folder / "archive"), no_delay=True) as archive:
        rule = {"name": "thin", "pipeline": MRA_SUPERRES.name}
        raw = settings_for(folder, destinations=[archive], rules=[rule], engines={"threads": threads})
        with RunningNode(folder / "flow", raw) as node:
            for run in range(-1, runs):
                files = write_tof(folder / f"series{run}", voxels, key=f"bench {run}", grid=GRID)
                dcmsend_s(node.port, files, called=AE_TITLE, case=FAST)
                node.wait_settled(run + 2, timeout_s=1200)
                time.sleep(0.5)  # the last stage is counted just after the job has ended
                series = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
                (job,) = [one for one in node.jobs() if one["source_series_uid"] == series]
                (made,) = [one for one in node.sets() if one["series_uid"] == series]
                assert job["state"] == "delivered", job["reason"]
                if run >= 0:
                    figures = {
                        LAST_OUT: job["updated_at"] - made["last_received_at"],
                        "waiting for evidence that the series is complete": made["frozen_at"]
                        - made["last_received_at"],
                        **{stage: job["seconds"][stage] for stage in STAGES},
                    }
                    for name, value in figures.items():
                        found.setdefault(name, []).append(value)
                sys.stderr.write(f"run {run + 1} of {runs}\n")
            found["memory"] = {part: peak_mb(pid) for part, pid in node.pids().items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.superres", description=__doc__)
    parser.add_argument("--slices", type=int, default=40, help="of each series (default 40)")
    parser.add_argument("--side", type=int, default=512, help="rows and columns (default 512)")
    parser.add_argument("--runs", type=int, default=1, help="counted runs (default 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engine (default: all cores)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
        load = os.getloadavg()[0]
        found = measured(Path(scratch), slices=given.slices, side=given.side, runs=given.runs, threads=given.threads)
    title = f"{given.slices} slices of 4 mm, {given.side}x{given.side}, to 1 mm"
    conclude(f"**{title}**, {given.threads} threads, seconds", found, load=load, wanted_s=WANTED_S)


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}. `deploy/setup-peers.sh` brings it.")
