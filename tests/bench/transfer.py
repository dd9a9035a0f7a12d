"""Instances per second: into the node's receiver beside DCMTK and Orthanc, and out of its sender beside dcmsend.

Every run sends series that nobody has seen before: a receiver that knows an instance may do less. What a sender does
before its first connection (start, reading the files) is measured against a port that nobody listens on and taken off.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from numpy.typing import NDArray

from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.peers import dimse_send
from node.peers.dimse_connect import Address
from tests.peers import HOST, Orthanc, Peer, StoreScp, free_port, which_or_skip
from tests.running_node import AE_TITLE, settings_for, write_toml

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LARGEST_PDU = ("--max-pdu", "131072")  # DCMTK's own limit; with its default of 16 KB it is slower
AnyPeer = TypeVar("AnyPeer", bound=Peer)


class NodeReceiver(Peer):
    """The receiver process of a node on its own, every answer durable."""

    tool = "dcmsend"  # without a sender there is nothing to measure
    aet = AE_TITLE

    def command(self) -> list[str]:
        """As a container would start it."""
        settings = write_toml(self.folder / "node.toml", settings_for(self.folder, port=self.port))
        return [sys.executable, "-m", "node", "run", "receiver", "-c", str(settings)]

    def count(self) -> int:
        """Instances in the spool."""
        return sum(1 for _ in (self.folder / "state" / "spool" / "in").rglob("*.dcm"))


class Scp(StoreScp):
    """storescp that counts what it wrote since it was last asked, and makes room."""

    def __init__(self, folder: Path, *, aet: str = "STORESCP", options: Sequence[str] = ()) -> None:
        super().__init__(folder, aet=aet, options=(*LARGEST_PDU, *options))
        self._cleared = 0

    def count(self) -> int:
        """Instances written since the start."""
        found = self.files()
        self._cleared += len(found)
        for path in found:
            path.unlink()
        return self._cleared


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a series is sent.

    no_delay: the DCMTK programs and Orthanc turn Nagle's algorithm off, which both ends must do to be fast; as
              installed it is on at both. The node never asks.
    """

    name: str
    senders: int
    no_delay: bool


CASES = (
    Case(name="1 sender, peers with TCP_NODELAY", senders=1, no_delay=True),
    Case(name="1 sender, peers as installed", senders=1, no_delay=False),
    Case(name="4 senders, peers with TCP_NODELAY", senders=4, no_delay=True),
)
FAST, STOCK = CASES[0], CASES[1]
# Series of the same shape, by a key that decides their UIDs.
MakeSeries = Callable[[str], list[Path]]
Say = Callable[[str], None]


def series_maker(folder: Path, slices: int) -> MakeSeries:
    """Write phantom slices, 512 x 512 of 16 bits, under ever new UIDs; the last series goes when the next one comes."""
    some = make_volume(slices=min(slices, 40))
    voxels: NDArray[np.float32] = np.resize(some, (slices, *some.shape[1:]))

    def make(key: str) -> list[Path]:
        shutil.rmtree(folder, ignore_errors=True)
        scan = Scan(key=key, patient_name="BENCH^PHANTOM", patient_id="BENCH", phantom=True)
        return write_ct_series(folder, voxels, scan=scan, spacing_mm=(2.0, 0.78, 0.78), first_mm=(-200.0, -200.0, 0.0))

    return make


@contextmanager
def running(peer: AnyPeer, *, no_delay: bool) -> Iterator[AnyPeer]:
    """A started peer; DCMTK reads the variable when it starts."""
    os.environ["TCP_NODELAY"] = str(int(no_delay))
    try:
        peer.start()
    finally:
        del os.environ["TCP_NODELAY"]
    try:
        yield peer
    finally:
        peer.stop()


def dcmsend_s(port: int, files: Sequence[Path], *, called: str, case: Case, fails: bool = False) -> float:
    """Wall-clock seconds until every dcmsend has ended."""
    command = [
        which_or_skip("dcmsend"),
        "-nuc",
        "-nh",
        *LARGEST_PDU,
        "-aet",
        "DCMSEND",
        "-aec",
        called,
        HOST,
        str(port),
    ]
    environment = {**os.environ, "TCP_NODELAY": str(int(case.no_delay))}
    parts = [files[number :: case.senders] for number in range(case.senders)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    began = time.monotonic()
    senders = [subprocess.Popen([*command, *map(str, part)], env=environment, **quiet) for part in parts]
    codes = [sender.wait(300) for sender in senders]
    seconds = time.monotonic() - began
    assert any(codes) is fails, f"dcmsend ended with {codes}"
    return seconds


def before_connecting_s(files: Sequence[Path], case: Case) -> float:
    """What dcmsend takes to start and to read the files; the least of ten, so that too little is taken off."""
    return min(dcmsend_s(free_port(), files, called="NOBODY", case=case, fails=True) for _ in range(10))


def receive(folder: Path, make: MakeSeries, *, runs: int, say: Say) -> dict[str, dict[str, list[float]]]:
    """Instances per second: case -> receiver -> one figure for each run, interleaved and in turning order."""
    found: dict[str, dict[str, list[float]]] = {case.name: {} for case in CASES}
    with ExitStack() as stack:

        def up(peer: AnyPeer, *, no_delay: bool) -> AnyPeer:
            return stack.enter_context(running(peer, no_delay=no_delay))

        node = up(NodeReceiver(folder / "node"), no_delay=False)
        orthanc = up(Orthanc(folder / "orthanc"), no_delay=True)
        forking = up(Scp(folder / "fork", options=["--fork"]), no_delay=True)
        single = up(Scp(folder / "storescp"), no_delay=True)
        stock_scp = up(Scp(folder / "stock"), no_delay=False)
        stock_orthanc = up(Orthanc(folder / "stock-orthanc"), no_delay=False)
        receivers = {
            CASES[0].name: {"node": node, "storescp": single, "Orthanc": orthanc},
            CASES[1].name: {"node": node, "storescp": stock_scp, "Orthanc": stock_orthanc},
            CASES[2].name: {"node": node, "storescp": forking, "Orthanc": orthanc},
        }
        files = make("receive")
        before_s = {case.name: before_connecting_s(files, case) for case in CASES}
        say("dcmsend before its first connection: " + ", ".join(f"{1000 * s:.0f} ms" for s in before_s.values()))
        for run in range(-1, runs):  # the first one warms up and is not counted
            for case in CASES:
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


def send(folder: Path, make: MakeSeries, *, runs: int, say: Say) -> dict[str, dict[str, list[float]]]:
    """Instances per second into storescp over one association: case -> sender -> one figure for each run."""
    found: dict[str, dict[str, list[float]]] = {case.name: {} for case in (FAST, STOCK)}
    with (
        running(Scp(folder / "sink"), no_delay=True) as fast,
        running(Scp(folder / "stock-sink"), no_delay=False) as stock,
    ):
        files = make("send")
        before_s = {case.name: before_connecting_s(files, case) for case in (FAST, STOCK)}
        for run in range(-1, runs):
            for case, sink in ((FAST, fast), (STOCK, stock)):
                files = make(f"send/{run}/{case.name}")
                for name, _ in _turned({"node": None, "dcmsend": None}, run):
                    there = sink.count()
                    os.sync()
                    if name == "node":
                        seconds = _node_sends_s(sink, files)
                    else:
                        seconds = dcmsend_s(sink.port, files, called=sink.aet, case=case) - before_s[case.name]
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


def _node_sends_s(sink: Scp, files: Sequence[Path]) -> float:
    address = Address(
        host=HOST, port=sink.port, called_ae=sink.aet, calling_ae=AE_TITLE, connect_s=10.0, response_s=30.0,
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


def peak_mb(pid: int) -> float:
    """The largest resident set that a process ever had (VmHWM), MB of 2**20 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def receiver_memory(folder: Path, make: MakeSeries, *, large_mb: int) -> dict[str, float]:
    """Peak resident memory of a fresh receiver, MB: at rest, after one series, after one object of `large_mb`."""
    files = make("memory")
    with NodeReceiver(folder / "memory") as node:
        found = {"at rest": peak_mb(node.pid)}
        dcmsend_s(node.port, files, called=node.aet, case=CASES[2])
        found[f"after {len(files)} slices from 4 senders"] = peak_mb(node.pid)
        if large_mb:
            ds = pydicom.dcmread(files[0])
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
            ds.NumberOfFrames = large_mb * 2
            ds.PixelData = bytes(large_mb << 20)
            large = folder / "large.dcm"
            ds.save_as(large, enforce_file_format=True)
            del ds
            dcmsend_s(node.port, [large], called=node.aet, case=FAST)
            found[f"after one object of {large_mb} MiB"] = peak_mb(node.pid)
            large.unlink()
    return found
