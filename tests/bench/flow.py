"""Seconds through a whole node: from the last slice in to the first derived slice out, and stage by stage."""

import re
import time
from pathlib import Path

from tests.bench.transfer import FAST, MakeSeries, Say, Scp, dcmsend_s, peak_mb, running
from tests.running_node import AE_TITLE, RunningNode, settings_for

STAGES = ("receive", "route", "prepare", "infer", "check", "derive", "deliver")
_SUM = re.compile(
    r"^imaging_node_(stage|inference)_seconds_sum\{(?:stage|pipeline)=\"([^\"]+)\"\} (\S+)$", re.MULTILINE
)


def through_the_node(
    folder: Path, make: MakeSeries, *, runs: int, threads: int, say: Say
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Series through a running node to a storescp.

    returns: figure -> one value for each run, in seconds; process of the node -> peak resident memory, MB
    """
    found: dict[str, list[float]] = {}
    with running(Scp(folder / "archive"), no_delay=True) as archive:
        raw = settings_for(folder, destinations=[archive], engines={"threads": threads})
        with RunningNode(folder / "flow", raw) as node:
            before = _sums(node)
            for run in range(-1, runs):
                files = make(f"flow/{run}")
                dcmsend_s(node.port, files, called=AE_TITLE, case=FAST)
                node.wait_settled(run + 2, timeout_s=600)
                time.sleep(0.5)  # the last stage is counted just after the job has ended
                after = _sums(node)
                taken = {name: after[name] - before.get(name, 0.0) for name in after}
                before = after
                if run >= 0:
                    for name, seconds in _figures(node, taken, len(files)).items():
                        found.setdefault(name, []).append(seconds)
                say(f"flow: run {run + 1} of {runs}")
            memory = {part: peak_mb(pid) for part, pid in node.pids().items()}
    return found, memory


def _sums(node: RunningNode) -> dict[str, float]:
    """Seconds so far by stage, and inside the engine, as the node's metrics page says."""
    return {
        "engine" if kind == "inference" else name: float(value) for kind, name, value in _SUM.findall(node.metrics())
    }


def _figures(node: RunningNode, taken: dict[str, float], slices: int) -> dict[str, float]:
    job = node.jobs()[0]
    (made,) = [one for one in node.sets() if one["series_uid"] == job["source_series_uid"]]
    assert job["state"] == "delivered", job["reason"]
    first_s = job["first_out_at"] - made["last_received_at"]
    last_s = job["updated_at"] - made["last_received_at"]
    return {
        "last slice in to first slice out": first_s,
        "the same beyond pure inference": first_s - taken["engine"],
        "last slice in to last slice out": last_s,
        "the same beyond pure inference, of pure inference": (last_s - taken["engine"]) / taken["engine"],
        "waiting for evidence that the series is complete": made["frozen_at"] - made["last_received_at"],
        "pure inference per slice": taken["engine"] / slices,
        **{f"{stage} per slice": taken[stage] / slices for stage in STAGES},
    }
