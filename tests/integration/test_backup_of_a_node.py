"""A real node under load is backed up, killed, deleted, restored: nothing is missing and nothing arrives twice."""

import os
import shutil
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pydicom

from node import app, running
from node.backup.restoring import restore
from node.backup.taking import take
from node.demo.phantom import make_series
from node.records import instances, restored
from node.records.database import Records
from tests.delivering import NAME, Scp, uid
from tests.peers import HOST, wait_until
from tests.running_node import AE_TITLE, RULE, RunningNode, settings_for
from tests.senders import send_as_they_are

SERIES, SLICES = 4, 3


class Sender(threading.Thread):
    """A modality that sends one series after the other. `answered`: SOP Instance UID -> when Success was here."""

    def __init__(self, node: RunningNode, scans: list[list[Path]]) -> None:
        super().__init__(daemon=True)
        self._node, self._scans = node, scans
        self.answered: dict[str, float] = {}

    def run(self) -> None:
        for files in self._scans:
            for path, status in zip(files, send_as_they_are(self._node.port, files, called=AE_TITLE), strict=True):
                assert status == 0x0000
                self.answered[uid(path)] = time.time()


def test_a_node_under_load_comes_back_from_its_backup(tmp_path: Path) -> None:
    scans = [make_series(tmp_path / f"scan{number}", slices=SLICES, seed=number) for number in range(SERIES)]
    with Scp(tmp_path / "archive", finds=True) as archive:
        raw = settings_for(tmp_path / "node", rules=[{**RULE, "destinations": [NAME]}])
        raw["destinations"] = [
            {"kind": "dicom", "name": NAME, "ae_title": "ARCHIVE", "host": HOST, "port": archive.port, "probe_s": 1.0}
        ]
        with RunningNode(tmp_path / "node", raw) as node:
            state = node.settings.node.state
            sender = Sender(node, scans)
            sender.start()
            wait_until("results arrive while it sends", archive.asked, timeout_s=120)
            for _ in range(3):
                taken = take(node.settings, node.file, tmp_path / "backups", keep=2)
            before = [one for one, at in list(sender.answered.items()) if at < taken.found.taken_at]
            sender.join()
            wait_until("results arrived since", lambda: len(archive.kept()) > SLICES, timeout_s=120)
            os.kill(node.pids()["supervisor"], signal.SIGKILL)
            wait_until("all of it is gone", lambda: gone(state), timeout_s=20)
            shutil.rmtree(state)

            done = restore(node.settings, tmp_path / "backups")
            node.revive()
            node.wait_ready()

            assert before
            with closing(node.records()) as records, records.read() as connection:
                found = {one: instances.by_uid(connection, one) for one in before}
            spool = app.spool_of(node.settings)
            assert all(one is not None and spool.path(one.file).exists() for one in found.values())
            for files in scans:  # what came since, and what came before: as a person has them sent again
                assert set(send_as_they_are(node.port, files, called=AE_TITLE)) == {0x0000}
            for series in done.doubt.series:  # that one was half here, and all of it is here now
                with closing(node.records()) as records:
                    take_as_it_is(records, series)
            node.wait_settled(SERIES)

            assert {job["state"] for job in node.jobs()} == {"delivered"}
            assert len(archive.kept()) == SERIES * SLICES
            assert sorted(archive.asked()) == sorted(archive.kept()), "an object was sent twice"
    delivered = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID) for path in archive.kept().values()
    }
    assert len(delivered) == SERIES


def take_as_it_is(records: Records, series_uid: str) -> None:
    """Have a series processed without what may be missing, if it is still waited for."""
    with records.write() as connection:
        restored.let_go(connection, series_uid, at=time.time())


def gone(state: Path) -> bool:
    """Whether no process of a node uses a state folder."""
    return running.parts(state) == []
