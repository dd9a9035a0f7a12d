"""python -m tests.bench.network: instances per second over DICOM, in one run side by side, interleaved, medians.

Receiving: the node with every answer durable, DCMTK's storescp (--fork for four senders), Orthanc, pynetdicom as
documented and with raw bytes; and the node without syncs (no setting does that) beside those who never sync.
Sending: the node, dcmsend and pynetdicom into DCMTK's storescp.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address
from tests.bench.peers import NodeReceiver, OrthancReceiver, PynetdicomScp, Scp, UnsyncedReceiver
from tests.bench.transfer import (
    CASES,
    CT,
    FAST,
    STOCK,
    MakeSeries,
    Say,
    before_connecting_s,
    dcmsend_s,
    running,
    series_maker,
)
from tests.peers import HOST, Peer
from tests.running_node import AE_TITLE
from tests.senders import send_as_they_are

Rates = dict[str, dict[str, list[float]]]

# Figure, its two sides and what it has to reach (TARGETS).
TARGETS = (
    (CASES[0].name, "node, unsynced", "storescp", 1.1),
    (CASES[0].name, "node", "storescp", 0.8),
    (CASES[0].name, "node", "Orthanc", 3.0),
    (CASES[2].name, "node", "storescp", 1.0),
    (CASES[2].name, "node", "Orthanc", 3.5),
)


def receive(
    folder: Path, make: MakeSeries, *, runs: int, say: Say, only: Sequence[str] = (), without: Sequence[str] = ()
) -> Rates:
    """Instances per second: case -> receiver -> one figure for each run, interleaved and in turning order.

    only, without: names of cases to measure, and of receivers to leave out; for a quick look
    """
    cases = [case for case in CASES if not only or case.name in only]
    found: Rates = {case.name: {} for case in cases}
    with ExitStack() as stack:

        def up(peer: Any, *, no_delay: bool) -> Any:
            return stack.enter_context(running(peer, no_delay=no_delay))

        fast = {
            "node": up(NodeReceiver(folder / "node", processes=2), no_delay=False),
            "node, unsynced": up(UnsyncedReceiver(folder / "unsynced"), no_delay=False),
            "storescp": up(Scp(folder / "storescp"), no_delay=True),
            "Orthanc": up(OrthancReceiver(folder / "orthanc"), no_delay=True),
            "pynetdicom, documented": up(PynetdicomScp(folder / "documented"), no_delay=False),
            "pynetdicom, raw": up(PynetdicomScp(folder / "raw"), no_delay=False),
        }
        stock = fast | {
            "storescp": up(Scp(folder / "stock"), no_delay=False),
            "Orthanc": up(OrthancReceiver(folder / "stock-orthanc"), no_delay=False),
        }
        forking = {
            no_delay: up(Scp(folder / f"fork-{no_delay}", options=["--fork"]), no_delay=no_delay)
            for no_delay in (True, False)
        }
        receivers: dict[str, dict[str, Any]] = {}
        for case in cases:
            these = dict(fast if case.no_delay else stock)
            if case.senders > 1:
                these["storescp"] = forking[case.no_delay]
                del these["node, unsynced"]  # one process, for one sender
            receivers[case.name] = {name: peer for name, peer in these.items() if name not in without}
        files = make("receive")
        before_s = {case.name: before_connecting_s(files, case) for case in cases}
        say("dcmsend before its first connection: " + ", ".join(f"{1000 * s:.0f} ms" for s in before_s.values()))
        for run in range(-1, runs):  # the first one warms up and is not counted
            for case in cases:
                files = make(f"receive/{run}/{case.name}")
                for name, receiver in _turned(receivers[case.name], run):
                    there = receiver.count()
                    os.sync()
                    seconds = dcmsend_s(receiver.port, files, called=receiver.aet, case=case) - before_s[case.name]
                    assert receiver.count() - there == len(files), f"{name} did not take everything"
                    if run >= 0:
                        found[case.name].setdefault(name, []).append(len(files) / seconds)
            say(f"receive: run {run + 1} of {runs}")
    return found


def send(folder: Path, make: MakeSeries, *, runs: int, say: Say) -> Rates:
    """Instances per second into storescp over one association: case -> sender -> one figure for each run."""
    found: Rates = {case.name: {} for case in (FAST, STOCK)}
    with (
        running(Scp(folder / "sink"), no_delay=True) as fast,
        running(Scp(folder / "stock-sink"), no_delay=False) as stock,
    ):
        files = make("send")
        before_s = {case.name: before_connecting_s(files, case) for case in (FAST, STOCK)}
        for run in range(-1, runs):
            for case, sink in ((FAST, fast), (STOCK, stock)):
                files = make(f"send/{run}/{case.name}")
                senders: dict[str, Callable[[Scp, Sequence[Path]], float]] = {
                    "node": _node_sends_s,
                    "dcmsend": lambda sink, files, case=case: (
                        dcmsend_s(sink.port, files, called=sink.aet, case=case) - before_s[case.name]
                    ),
                    "pynetdicom": _pynetdicom_sends_s,
                }
                for name, sender in _turned(senders, run):
                    there = sink.count()
                    os.sync()
                    seconds = sender(sink, files)
                    assert sink.count() - there == len(files), f"{name} did not send everything"
                    if run >= 0:
                        found[case.name].setdefault(name, []).append(len(files) / seconds)
            say(f"send: run {run + 1} of {runs}")
    return found


def _turned(them: Mapping[str, Any], run: int) -> list[tuple[str, Any]]:
    """Another one begins in each run."""
    items = list(them.items())
    turn = run % len(items)
    return items[turn:] + items[:turn]


def _node_sends_s(sink: Peer, files: Sequence[Path]) -> float:
    address = Address(
        host=HOST, port=sink.port, called_ae="STORESCP", calling_ae=AE_TITLE, connect_s=10.0, response_s=30.0,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
    )  # fmt: skip
    statuses: list[int] = []
    began = time.monotonic()
    dimse_send.send(
        address,
        [(CT, path) for path in files],
        before=lambda _: None,
        answered=lambda _, status: statuses.append(status) is None,
    )
    seconds = time.monotonic() - began
    assert statuses == [0] * len(files)
    return seconds


def _pynetdicom_sends_s(sink: Peer, files: Sequence[Path]) -> float:
    began = time.monotonic()
    assert send_as_they_are(sink.port, files, called="STORESCP") == [0] * len(files)
    return time.monotonic() - began


def report_receive(rates: Rates) -> Iterator[str]:
    """A table in Markdown."""
    yield "\n**Receive**, instances/s (median); the node syncs before each answer, the others never do\n"
    names = list(dict.fromkeys(name for case in rates.values() for name in case))
    yield "| how | " + " | ".join(names) + " |"
    yield "|---|" + "---:|" * len(names)
    for case, found in rates.items():
        cells = [f"{statistics.median(found[name]):.0f}" if name in found else "" for name in names]
        yield f"| {case} | " + " | ".join(cells) + " |"
    yield "\n| ratio of medians | is | wanted |"
    yield "|---|---:|---:|"
    for case, ours, theirs, wanted in TARGETS:
        found = rates.get(case, {})
        if ours in found and theirs in found:
            ratio = statistics.median(found[ours]) / statistics.median(found[theirs])
            yield f"| {case}: {ours} / {theirs} | {ratio:.2f} | {wanted} |"


def report_send(rates: Rates) -> Iterator[str]:
    """The same for sending."""
    yield "\n**Send** into storescp, one association, instances/s (median, least to most)\n"
    yield "| storescp and dcmsend | node | dcmsend | pynetdicom | node / dcmsend |"
    yield "|---|---:|---:|---:|---:|"
    for case, found in rates.items():
        cells = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in found.values()]
        ratio = statistics.median(found["node"]) / statistics.median(found["dcmsend"])
        yield f"| {case} | " + " | ".join(cells) + f" | {ratio:.2f} |"


def main() -> None:
    """Measure and print: tables, then one JSON object as the last line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.network", description=__doc__)
    parser.add_argument("--slices", type=int, default=400, help="of each series (default 400)")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each figure (default 5)")
    parser.add_argument("--only", choices=["receive", "send"], action="append", help="one side of it")
    parser.add_argument("--case", type=int, action="append", default=[], help="only cases by number, from 1")
    parser.add_argument("--without", action="append", default=[], help="a receiver to leave out, by its name")
    given = parser.parse_args()
    began, result = time.monotonic(), {"load before": os.getloadavg(), "slices": given.slices, "runs": given.runs}

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {text}\n")

    with tempfile.TemporaryDirectory(prefix="imaging-node-bench-") as scratch:
        folder = Path(scratch)
        make = series_maker(folder / "series", given.slices)
        if not given.only or "receive" in given.only:
            only = [CASES[number - 1].name for number in given.case]
            rates = receive(folder, make, runs=given.runs, say=say, only=only, without=given.without)
            result["receive"] = rates
            print("\n".join(report_receive(rates)))
        if not given.only or "send" in given.only:
            rates = send(folder, make, runs=given.runs, say=say)
            result["send"] = rates
            print("\n".join(report_send(rates)))
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main()
    except pytest.skip.Exception as missing:
        sys.exit(f"Nothing measured: {missing}. `deploy/setup-peers.sh` brings it.")
    except pytest.fail.Exception as failure:
        sys.exit(str(failure))
