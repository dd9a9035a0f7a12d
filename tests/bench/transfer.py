"""What the figures of `network.py` are made of: series, senders, cases; and the memory of a receiver.

Every run sends series that nobody has seen before: a receiver that knows an instance may do less. What a sender does
before its first connection (start, reading the files) is measured against a port that nobody listens on and taken off.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pydicom
from numpy.typing import NDArray

from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from tests.bench.peers import LARGEST_PDU, NodeReceiver
from tests.peers import HOST, Peer, free_port, which_or_skip

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
AnyPeer = TypeVar("AnyPeer", bound=Peer)


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
    Case(name="4 senders, peers as installed", senders=4, no_delay=False),
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
    codes = [_ended(sender) for sender in senders]
    seconds = time.monotonic() - began
    assert any(codes) is fails, f"dcmsend ended with {codes}"
    return seconds


def _ended(sender: "subprocess.Popen[bytes]") -> int:
    """Its exit status. `wait` with a limit looks every 50 ms only, which is a fifth of what is measured here."""
    limit = threading.Timer(300, sender.kill)
    limit.start()
    try:
        return sender.wait()
    finally:
        limit.cancel()


def before_connecting_s(files: Sequence[Path], case: Case) -> float:
    """What dcmsend takes to start and to read the files; the least of ten, so that too little is taken off."""
    return min(dcmsend_s(free_port(), files, called="NOBODY", case=case, fails=True) for _ in range(10))


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
