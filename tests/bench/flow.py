"""python -m tests.bench.flow: last slice in to the first and the last derived slice out, beside pure inference.

Two senders: dcmsend, which sends as fast as it can, and a scanner, which sends as it reconstructs. Pure inference is
the engine alone, called slice by slice in this process while the node rests, before and after each run: the mean of
both. The overhead is what the last slice out took beyond it, as a share of it. Prints Markdown, then one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.ort import OrtEngine
from engines.store import load_spec
from node.demo.phantom import make_volume
from pipelines.ct_denoise import CT_DENOISE
from pipelines.steps.tiles import pad_to_multiple
from tests.bench.peers import Scp
from tests.bench.transfer import FAST, MakeSeries, Say, dcmsend_s, peak_mb, running, series_maker
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.senders import associate, store

STAGES = ("prepare", "infer", "check", "derive")


def through_the_node(
    folder: Path, make: MakeSeries, *, runs: int, threads: int, say: Say, per_s: float | None = None
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Series through a running node to a storescp; one more run than counted comes first.

    per_s:   slices that the sender sends in a second; as many as it can if None
    returns: figure -> one value for each run, in seconds but for those that say otherwise; process of the node -> peak
             resident memory, MB
    """
    found: dict[str, list[float]] = {}
    with running(Scp(folder / "archive"), no_delay=True) as archive, Pure(threads) as pure:
        raw = settings_for(folder, destinations=[archive], engines={"threads": threads})
        with RunningNode(folder / "flow", raw) as node:
            for run in range(-1, runs):
                files = make(f"flow/{per_s}/{run}")
                before_s = pure.seconds()
                _send(node.port, files, per_s)
                node.wait_settled(run + 2, timeout_s=1200)
                time.sleep(0.5)  # the last stage is counted just after the job has ended
                pure_s = len(files) * (before_s + pure.seconds()) / 2
                if run >= 0:
                    for name, value in _figures(node, pure_s).items():
                        found.setdefault(name, []).append(value)
                say(f"flow: run {run + 1} of {runs}")
            memory = {part: peak_mb(pid) for part, pid in node.pids().items()}
    return found, memory


class Pure:
    """The engine alone."""

    def __init__(self, threads: int) -> None:
        self._engine = OrtEngine(load_spec(CT_DENOISE.engine), threads=threads)
        some = [pad_to_multiple(image, CT_DENOISE.tiles.multiple_of)[0] for image in make_volume(slices=10)]
        self._feeds = [{CT_DENOISE.feed: np.ascontiguousarray(image[None, None], np.float32)} for image in some]

    def __enter__(self) -> "Pure":
        self._engine.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.__exit__(None, None, None)

    def seconds(self) -> float:
        """Of one slice of 512 by 512."""
        self._engine.infer(self._feeds[0])
        began = time.monotonic()
        for feeds in self._feeds:
            self._engine.infer(feeds)
        return (time.monotonic() - began) / len(self._feeds)


def _send(port: int, files: Sequence[Path], per_s: float | None) -> None:
    if per_s is None:
        dcmsend_s(port, files, called=AE_TITLE, case=FAST)
        return
    association = associate(port, files, called=AE_TITLE)
    began = time.monotonic()
    for number, path in enumerate(files):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        assert store(association, path) == 0
    association.release()


def _figures(node: RunningNode, pure_s: float) -> dict[str, float]:
    job = node.jobs()[0]
    (made,) = [one for one in node.sets() if one["series_uid"] == job["source_series_uid"]]
    assert job["state"] == "delivered", job["reason"]
    events = node.show(job["source_series_uid"])["sets"][0]["jobs"][0]["events"]
    first_s = job["first_out_at"] - made["last_received_at"]
    last_s = job["updated_at"] - made["last_received_at"]
    ahead = sum(one["detail"]["slices"] for one in events if one["kind"] == "ahead")
    return {
        "pure inference of the series": pure_s,
        "last slice in to first slice out": first_s,
        "the same beyond pure inference": first_s - pure_s,
        "last slice in to last slice out": last_s,
        "overhead, of pure inference": last_s / pure_s - 1.0,
        "slices made before the series was complete": float(ahead),
        "waiting for evidence that the series is complete": made["frozen_at"] - made["last_received_at"],
        **{stage: job["seconds"][stage] for stage in STAGES},
        "first slice out to last": last_s - first_s,
    }


def report(title: str, found: Mapping[str, Sequence[float]], memory: Mapping[str, float]) -> list[str]:
    """A table in Markdown."""
    lines = [f"\n**{title}**, seconds but for the lines that say otherwise\n", "| what | median | spread |"]
    lines.append("|---|---:|---:|")
    for what, values in found.items():
        lines.append(f"| {what} | {statistics.median(values):.3g} | {min(values):.3g} to {max(values):.3g} |")
    sizes = ", ".join(f"{part} {size:.0f} MB" for part, size in memory.items())
    return [*lines, f"\nPeak resident memory of the node's processes: {sizes}."]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flow", description=__doc__)
    parser.add_argument("--slices", type=int, default=300, help="of each series (default 300)")
    parser.add_argument("--runs", type=int, default=1, help="counted runs (default 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engine (default: all cores)")
    parser.add_argument("--per-s", type=float, default=10.0, help="slices a second of the scanner (default 10)")
    parser.add_argument("--only", choices=["dcmsend", "scanner"], help="one of the senders")
    given = parser.parse_args()
    senders = {"dcmsend": None, "scanner": given.per_s}
    result: dict[str, Any] = {"slices": given.slices, "threads": given.threads, "load before": os.getloadavg()[0]}
    for name, per_s in senders.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
                make = series_maker(Path(scratch) / "series", given.slices)
                found, memory = through_the_node(
                    Path(scratch),
                    make,
                    runs=given.runs,
                    threads=given.threads,
                    per_s=per_s,
                    say=lambda text: sys.stderr.write(f"{text}\n"),
                )
            speed = "as fast as it can" if per_s is None else f"{per_s:g} slices/s"
            print("\n".join(report(f"{given.slices} slices, {name}, {speed}", found, memory)))
            result[name] = {"figures": found, "memory": memory}
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}. `deploy/setup-peers.sh` brings it.")
