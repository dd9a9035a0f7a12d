"""SIGKILL at random moments: every acknowledged instance is on disk, every eligible series arrives exactly once.

python -m tests.acceptance.test_kill 30     the script with so many kills; pytest runs it with fewer
"""

import hashlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest

from node import app
from node.demo.phantom import make_series
from node.dicom.part10 import split
from node.records import instances
from tests.peers import Orthanc, StoreScp, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.senders import acknowledged

SERIES = 5
SLICES = 20
ROUNDS_IN_CI = 6
# As RELIABILITY §5 (a) weighs them.
PARTS = ["receiver"] * 4 + ["receiver-2"] * 4 + ["worker"] * 6 + ["supervisor"] * 2 + ["child of worker"] * 3 + ["page"]


@dataclass(kw_only=True)
class Account:
    """What the senders were told. `acknowledged`: SOP Instance UID -> SHA-256 of the data set that was sent."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    never_taken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def send_until_acknowledged(node: RunningNode, files: list[Path], account: Account, deadline: float) -> None:
    """What a modality does: send, and after a failure send again what was not acknowledged."""
    waiting = list(files)
    while waiting and time.monotonic() < deadline:
        for path in acknowledged(node.port, waiting, called=AE_TITLE):
            meta, data_set = split(path)
            with account.lock:
                account.acknowledged[meta.sop_instance_uid] = hashlib.sha256(data_set).hexdigest()
            waiting.remove(path)
        time.sleep(0.2)
    account.never_taken += len(waiting)


def missing_or_changed(node: RunningNode, account: Account) -> list[str]:
    """Acknowledged instances that are not in the records or not whole on disk."""
    spool = app.spool_of(node.settings)
    bad = []
    with closing(node.records()) as records, records.read() as connection:
        for uid, digest in account.acknowledged.items():
            found = instances.by_uid(connection, uid)
            if found is None or not spool.path(found.file).exists():
                bad.append(uid)
                continue
            _, data_set = split(spool.path(found.file))
            if hashlib.sha256(data_set).hexdigest() != digest:
                bad.append(uid)
    return bad


def run(folder: Path, rounds: int, seed: int) -> dict[str, object]:
    """One run of five series with so many kills; raises AssertionError if a promise is broken."""
    chance = random.Random(seed)
    scans = [make_series(folder / f"scan{number}", slices=SLICES, seed=number) for number in range(SERIES)]
    account, killed = Account(), []
    with Orthanc(folder / "orthanc") as orthanc, StoreScp(folder / "storescp") as storescp:
        raw = settings_for(
            folder, destinations=[orthanc, storescp], assemble={"quiet_s": 60.0}, receiver={"processes": 2}
        )
        with RunningNode(folder, raw) as node:
            deadline = time.monotonic() + 60 + 20 * rounds
            senders = [
                threading.Thread(target=send_until_acknowledged, args=(node, files, account, deadline))
                for files in scans
            ]
            for number, sender in enumerate(senders):
                if number < 2:
                    sender.start()
            for count in range(rounds):
                time.sleep(chance.uniform(0.3, 3.0))
                # New work keeps coming while processes die.
                if (index := 2 + count * SERIES // max(rounds, 1)) < SERIES and senders[index].ident is None:
                    senders[index].start()
                part = chance.choice(PARTS)
                node.revive()
                node.kill(part)
                killed.append(part)
            for sender in senders:
                if sender.ident is None:
                    sender.start()
            for sender in senders:
                sender.join()
            node.revive()
            node.wait_ready()
            node.wait_settled(SERIES, timeout_s=240)

            assert account.never_taken == 0
            assert missing_or_changed(node, account) == []
            assert len(account.acknowledged) == SERIES * SLICES
            made = {}
            for job in node.jobs():
                assert job["state"] == "delivered", job
                made.setdefault(job["source_series_uid"], []).append(job["series_uid"])
            assert sorted(map(len, made.values())) == [1] * SERIES, "one derived series for each source"
            wanted = sorted(uid for uids in made.values() for uid in uids)
            assert sorted(orthanc.series()) == wanted
            assert orthanc.count() == SERIES * SLICES
            arrived = [pydicom.dcmread(path, stop_before_pixels=True) for path in storescp.files()]
            assert sorted({str(d.SeriesInstanceUID) for d in arrived}) == wanted
            assert len(arrived) == SERIES * SLICES
            spool = node.settings.node.state / "spool"
            leftovers = [path for path in (spool / "aside").rglob("*") if path.is_file()]
            assert leftovers == []
            wait_until(
                "nothing of work ahead or between stages is left",
                lambda: not [path for path in (spool / "work").rglob("*") if path.is_file()],
                timeout_s=20,
            )
    return {"seed": seed, "kills": killed, "acknowledged": len(account.acknowledged), "lost": 0, "twice": 0}


def test_nothing_acknowledged_is_lost_and_nothing_arrives_twice(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    sys.stderr.write(f"seed {seed}\n")
    assert run(tmp_path, ROUNDS_IN_CI, seed)["lost"] == 0


def test_the_check_sees_a_lost_instance(tmp_path: Path) -> None:
    """The negative control: one spooled file fewer must be found."""
    files = make_series(tmp_path / "scan", slices=3)
    account = Account()
    with RunningNode(tmp_path, settings_for(tmp_path)) as node:
        send_until_acknowledged(node, files, account, time.monotonic() + 60)
        assert missing_or_changed(node, account) == []
        lost = next((node.settings.node.state / "spool" / "in").rglob("*.dcm"))
        lost.write_bytes(lost.read_bytes()[:-2] + b"\1\2")
        assert len(missing_or_changed(node, account)) == 1


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            print(json.dumps(run(Path(scratch), wanted, chosen)))
        except pytest.fail.Exception as error:
            sys.exit(f"seed {chosen}: {error}")
