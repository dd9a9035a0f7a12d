"""python -m tests.bench.contrast: last slice of T1, T2 and FLAIR in to the last synthetic slice out, through a node.

The real glioma of ../shared/data as three series of 150 slices of 256x256, T2 and FLAIR after a motion of the head, so
that both are registered; DCMTK sends. Prints Markdown, then one JSON object with the line of acceptance: 60 s on two
cores.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pipelines.mr_postcontrast import MR_POSTCONTRAST
from pipelines.volume import Volume
from tests.bench.closing import LAST_OUT, conclude
from tests.bench.flow import STAGES
from tests.bench.transfer import FAST, dcmsend_s, peak_mb
from tests.mr_series import TUMOUR, Scanned, middle_of, motion, real, seen, write_mr_series
from tests.running_node import AE_TITLE, RunningNode, settings_for

WANTED_S = 60.0
SHAPE = (150, 256, 256)
MOVED = {"t1": ((0, 0, 0), (0, 0, 0)), "t2": ((3, -2, 4), (2, -1, 3)), "flair": ((-2, 3, -3), (-2, 2, -1))}


def series(role: str) -> Volume:
    """A role of the glioma on a grid of 1 mm, moved, cut and padded to `SHAPE`."""
    head = real(TUMOUR, "t1")
    moved = seen(real(TUMOUR, role), motion(*MOVED[role], middle_of(head)), (1.0, 1.0, 1.0), "axial")
    voxels, affine = moved.voxels, moved.affine.copy()
    for axis, wanted in enumerate(SHAPE):
        before = (wanted - voxels.shape[axis]) // 2
        if before < 0:
            voxels = np.take(voxels, range(-before, -before + wanted), axis=axis)
        else:
            pad = [(0, 0)] * 3
            pad[axis] = (before, wanted - voxels.shape[axis] - before)
            voxels = np.pad(voxels, pad)
        affine[:3, 3] -= before * affine[:3, axis]
    return Volume(voxels=np.ascontiguousarray(voxels), affine=affine, unit="MR")


def measured(folder: Path, *, runs: int, threads: int) -> dict[str, Any]:
    """Studies through a running node into a folder; one more run than counted comes first.

    returns: figure -> one value for each run, s; process of the node -> peak resident memory, MB, under "memory"
    """
    volumes = {role: series(role) for role in MOVED}
    found: dict[str, Any] = {}
    rule = {"name": "contrast", "pipeline": MR_POSTCONTRAST.name}
    target = {"kind": "folder", "name": "folder", "path": str(folder / "out"), "synthetic": True}
    raw = {**settings_for(folder, rules=[{**rule, "destinations": ["folder"]}], engines={"threads": threads})}
    with RunningNode(folder / "flow", {**raw, "destinations": [target]}) as node:
        for run in range(-1, runs):
            key = f"bench {run}"
            files = [
                path
                for number, (role, volume) in enumerate(volumes.items())
                for path in write_mr_series(
                    folder / f"{role}{run}",
                    volume,
                    Scanned(key=f"{key} {role}", study=key, role=role, series_number=number + 2),
                )
            ]
            dcmsend_s(node.port, files, called=AE_TITLE, case=FAST)
            sent = pydicom.dcmread(files[0], stop_before_pixels=True)
            until = time.monotonic() + 900
            while not (jobs := [one for one in node.jobs() if one["source_series_uid"] == sent.SeriesInstanceUID]):
                assert time.monotonic() < until, node.tail()
                time.sleep(0.2)
            while (job := next(one for one in node.jobs() if one["id"] == jobs[0]["id"]))["state"] not in (
                "delivered", "held", "refused", "failed",
            ):  # fmt: skip
                assert time.monotonic() < until, node.tail()
                time.sleep(0.2)
            assert job["state"] == "delivered", job["reason"]
            time.sleep(0.5)  # the last stage is counted just after the job has ended
            job = next(one for one in node.jobs() if one["id"] == job["id"])
            last_in = max(one["last_received_at"] for one in node.sets())
            if run >= 0:
                figures = {
                    LAST_OUT: job["updated_at"] - last_in,
                    **{stage: job["seconds"][stage] for stage in STAGES},
                }
                for name, value in figures.items():
                    found.setdefault(name, []).append(value)
            sys.stderr.write(f"run {run + 1} of {runs}: {job['seconds']}\n")
        found["memory"] = {part: peak_mb(pid) for part, pid in node.pids().items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.contrast", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="counted runs (default 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engine (default: all cores)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
        load = os.getloadavg()[0]
        found = measured(Path(scratch), runs=given.runs, threads=given.threads)
    title = f"T1, T2 and FLAIR of {SHAPE[0]} slices, {SHAPE[1]}x{SHAPE[2]}"
    conclude(f"**{title}**, {given.threads} threads, seconds", found, load=load, wanted_s=WANTED_S)


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}.")
