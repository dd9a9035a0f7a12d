"""python -m tests.bench: the node beside DCMTK and Orthanc on this machine, in one run. `make bench` calls it.

Prints tables in Markdown, then one JSON object as the last line. Ratios are what to quote; absolute rates belong to the
machine and to what else it was doing.
"""

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from engines.store import load_spec
from tests.bench.flow import report, through_the_node
from tests.bench.network import receive, report_receive, report_send, send
from tests.bench.transfer import Say, receiver_memory, series_maker
from tests.peers import run_tool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--slices", type=int, default=150, help="of each series (default 150)")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each figure (default 5)")
    parser.add_argument(
        "--flow-slices", type=int, default=60, help="of each series through the whole node (default 60)"
    )
    parser.add_argument("--large-mb", type=int, default=256, help="of the large object; 0 leaves it out (default 256)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engine (default: all cores)")
    parser.add_argument("--only", choices=["receive", "send", "flow", "memory"], action="append", help="part of it")
    given = parser.parse_args()
    parts = given.only or ["receive", "send", "flow", "memory"]
    began = time.monotonic()
    result: dict[str, Any] = {"machine": _machine(given)}

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {text}\n")

    try:
        _measure(given, parts, result, say)
    finally:  # what was measured before a fault is still worth reading
        result["seconds"] = round(time.monotonic() - began)
        print("\n".join(_report(result)))
        print(json.dumps(result))


def _measure(given: argparse.Namespace, parts: Sequence[str], result: dict[str, Any], say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
        folder = Path(scratch)
        make = series_maker(folder / "series", given.slices)
        say("the phantom is made")
        if "receive" in parts:
            result["receive"] = receive(folder, make, runs=given.runs, say=say)
        if "send" in parts:
            result["send"] = send(folder, make, runs=given.runs, say=say)
        if "memory" in parts:
            result["memory"] = receiver_memory(folder, make, large_mb=given.large_mb)
        if "flow" in parts:
            make = series_maker(folder / "series", given.flow_slices)
            result["flow"], result["flow_memory"] = through_the_node(
                folder, make, runs=given.runs, threads=given.threads, say=say
            )


def _machine(given: argparse.Namespace) -> dict[str, Any]:
    spec = load_spec("ct_denoise")
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "load before": [round(value, 1) for value in os.getloadavg()],
        "slices": given.slices,
        "flow slices": given.flow_slices,
        "runs": given.runs,
        "engine threads": given.threads,
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "DCMTK": run_tool("dcmsend", "--version").split()[2],
        "Orthanc": run_tool("Orthanc", "--version").split()[1],
        "pynetdicom": version("pynetdicom"),
        "onnxruntime": version("onnxruntime"),
        "network": f"{spec.name} {spec.version}",
    }


def _report(result: Mapping[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    if "receive" in result:
        yield from report_receive(result["receive"])
    if "send" in result:
        yield from report_send(result["send"])
    if "memory" in result:
        yield "\n**Receiver's peak resident memory**, MB\n"
        yield "| when | MB |"
        yield "|---|---:|"
        yield from (f"| {when} | {size:.0f} |" for when, size in result["memory"].items())
    if "flow" in result:
        yield from report("Through the node", result["flow"], result["flow_memory"])
    yield f"\nThe whole run took {result['seconds']} s.\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"


def _spread(values: Sequence[float]) -> str:
    return f"{_number(min(values))} to {_number(max(values))}"


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}. `deploy/setup-peers.sh` brings it.")
    except pytest.fail.Exception as failure:
        sys.exit(str(failure))
