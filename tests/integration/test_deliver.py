"""Delivery to archives that misbehave on script: everything arrives once, or a dead letter says why not.

python -m tests.integration.test_deliver scp FOLDER SCRIPT       an archive that does as SCRIPT (JSON) says
python -m tests.integration.test_deliver send STATE PORT         one attempt to deliver, to be killed in the middle
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.demo.phantom import make_series
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.dicom.part10 import split
from node.peers.carrier import Carrier
from node.peers.dicom import DicomCarrier
from node.peers.dimse_connect import Address
from node.peers.dimse_query import STUDY_ROOT_FIND
from node.peers.folder import FolderCarrier
from node.records import deliveries, instances, jobs, sets
from node.records.database import Records, migrate
from node.records.instances import Instance
from node.records.states import DispatchState, Ending, JobState
from node.settings import Destination, DicomDestination, FolderDestination
from node.spool import Spool
from node.stages.deliver import Attempt, Deliverer
from tests.peers import HOST, wait_until

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = Path(__file__).parents[2]
JOB, NAME = "ab" * 32, "archive"
SLICES = 8


class Scp(AbstractContextManager["Scp"]):
    """The scripted archive in a process of its own.

    answers:  SOP Instance UID -> statuses of the first answers to it; Success afterwards
    abort_at: numbers of the C-STORE requests, from 1, that are answered by an abort, nothing kept
    hang_at:  the number of the request that is kept but not answered for 5 s
    syntaxes: that it takes
    finds:    answers C-FIND about what it has
    """

    def __init__(self, folder: Path, **script: Any) -> None:
        self.folder = folder
        folder.mkdir()
        command = [sys.executable, "-m", "tests.integration.test_deliver", "scp", str(folder), json.dumps(script)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def asked(self) -> list[str]:
        """SOP Instance UIDs of all C-STORE requests, in order."""
        log = self.folder / "asked"
        return log.read_text().split() if log.exists() else []

    def kept(self) -> dict[str, Path]:
        return {path.stem: path for path in self.folder.glob("*.dcm")}


def _scp(folder: Path, script: dict[str, Any]) -> None:
    answers = {uid: list(statuses) for uid, statuses in script.get("answers", {}).items()}
    count = 0

    def store(event: Any) -> int:
        nonlocal count
        count += 1
        uid = str(event.request.AffectedSOPInstanceUID)
        if count in script.get("abort_at", ()):
            event.assoc.abort()
            return 0x0110
        status = answers[uid].pop(0) if answers.get(uid) else 0x0000
        if status in (0x0000, 0xB000):
            (folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        with (folder / "asked").open("a") as log:
            log.write(f"{uid}\n")
        if count == script.get("hang_at"):
            time.sleep(5)
        return status

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for path in folder.glob("*.dcm"):
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = path.stem
            yield 0xFF00, found

    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(CT, script.get("syntaxes", [EXPLICIT_LE, IMPLICIT_LE]))
    if script.get("finds"):
        ae.add_supported_context(STUDY_ROOT_FIND)
    handlers: list[Any] = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find)]
    server = ae.start_server((HOST, 0), block=False, evt_handlers=handlers)
    assert server is not None
    print(server.socket.getsockname()[1], flush=True)
    signal.pause()


class Sending(AbstractContextManager["Sending"]):
    """A finished job in real records and a real spool, and a deliverer whose clock the test moves."""

    def __init__(self, state: Path, port: int) -> None:
        self.now = time.time()
        self.attempts = 0
        self.records = Records(state)
        self.spool = Spool(state, reserve_bytes=0)
        to = DicomDestination(
            name=NAME, ae_title="ARCHIVE", host=HOST, port=port, retry_longest_s=3600.0, response_timeout_s=20.0
        )
        self.deliverer = Deliverer(
            self.records, self.spool, destination=lambda _: to, carrier=_carrier, clock=lambda: self.now
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.records.close()

    def attempt(self) -> Attempt:
        self.attempts += 1
        return self.deliverer.attempt(JOB, NAME, self.attempts)

    def until_it_ends(self) -> list[Attempt]:
        """Attempts after one another, each after its pause."""
        made = [self.attempt()]
        while (pause_s := made[-1].pause_s) is not None:
            self.now += pause_s
            made.append(self.attempt())
            assert len(made) < 10
        return made

    def job(self) -> dict[str, Any]:
        with self.records.read() as connection:
            return jobs.get(connection, JOB)

    def dispatch(self) -> dict[str, Any]:
        with self.records.read() as connection:
            return deliveries.of_job(connection, JOB)[0]


def _carrier(to: Destination) -> Carrier:
    if to.kind == "folder":
        return FolderCarrier(to.path)
    assert to.kind == "dicom"
    return DicomCarrier(
        Address(
            host=to.host, port=to.port, called_ae=to.ae_title, calling_ae="IMAGING-NODE", connect_s=5.0,
            response_s=to.response_timeout_s, implementation_uid=IMPLEMENTATION_CLASS_UID,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.fixture
def state(tmp_path: Path, made: list[Path]) -> Path:
    """Records and spool of a node that has made a series; delivering it is all that is left."""
    migrate(tmp_path)
    Spool(tmp_path, reserve_bytes=0).prepare()
    out = tmp_path / "spool" / "out"
    first = pydicom.dcmread(made[0], stop_before_pixels=True)
    results = []
    for path in made:
        data = path.read_bytes()
        (out / path.name).write_bytes(data)
        results.append(
            {"sop_instance_uid": uid(path), "sop_class_uid": CT, "source_sop_instance_uid": "1.2.3",
             "file": f"out/{path.name}", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        )  # fmt: skip
    source = Instance(
        sop_instance_uid="1.2.3", sop_class_uid=CT, study_uid=str(first.StudyInstanceUID), series_uid="1.2.4",
        transfer_syntax=EXPLICIT_LE, patient_key="", file="x", bytes=1, sha256="0" * 64, pixel_sha256="", header={},
        association="a", received_at=1.0,
    )  # fmt: skip
    with closing(Records(tmp_path)) as records, records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="A", receiver="r", at=1.0)
        instances.close_association(connection, key="a", at=1.0, ending=Ending.RELEASED)
        instances.add(connection, source)
        set_id = sets.freeze(connection, instances.of_series(connection, "1.2.4"), evidence="test", at=2.0)
        job = {"id": JOB, "set_id": set_id, "rule": "r", "pipeline": "p", "pipeline_version": "1",
               "engine_sha256": "e", "destinations": [NAME]}  # fmt: skip
        jobs.add(connection, at=2.0, job=job)
        now, series = time.time(), str(first.SeriesInstanceUID)
        jobs.finish_derive(connection, JOB, at=now, series_uid=series, description="", results=results)
    return tmp_path


def uid(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def all_once(archive: Scp, made: list[Path]) -> bool:
    """Everything is there, byte for byte, and was asked for once."""
    whole = {uid(path): split(path)[1] for path in made}
    kept = {key: split(path)[1] for key, path in archive.kept().items()}
    return kept == whole and sorted(archive.asked()) == sorted(whole)


def test_what_was_taken_is_confirmed_and_the_job_delivered(state: Path, made: list[Path]) -> None:
    with Scp(state / "archive") as archive, Sending(state, archive.port) as sending:
        assert sending.attempt() == Attempt(state=DispatchState.DELIVERED, pause_s=None)
        assert sending.attempt() == Attempt(state=DispatchState.DELIVERED, pause_s=None)  # and no more is sent

        assert all_once(archive, made)
        assert sending.job()["state"] == JobState.DELIVERED
        assert sending.job()["first_out_at"] == sending.now


def test_an_archive_that_is_full_for_a_while_gets_the_rest_later_and_nothing_twice(
    state: Path, made: list[Path]
) -> None:
    full = uid(made[3])
    with Scp(state / "archive", answers={full: [0xA700]}) as archive, Sending(state, archive.port) as sending:
        first = sending.attempt()
        assert first.state is DispatchState.WAITING
        assert first.pause_s is not None
        assert 4.0 <= first.pause_s <= 6.0  # 5 s, ± 20 %
        assert archive.asked() == [uid(path) for path in made[:4]]  # a full peer is not asked for more
        assert "0xa700 to 1 of 8 instances" in sending.dispatch()["trouble"]

        assert sending.attempt().state is DispatchState.DELIVERED
        assert archive.asked() == [uid(path) for path in made[:4]] + [uid(path) for path in made[3:]]
        assert len(archive.kept()) == SLICES
        assert sending.dispatch()["trouble"] == ""


def test_an_object_refused_for_good_becomes_a_dead_letter_after_three_tries_and_the_others_arrive(
    state: Path, made: list[Path]
) -> None:
    bad = uid(made[2])
    with Scp(state / "archive", answers={bad: [0xC000] * 9}) as archive, Sending(state, archive.port) as sending:
        tries = sending.until_it_ends()

        assert [one.state for one in tries] == [DispatchState.WAITING] * 2 + [DispatchState.DEAD]
        assert Counter(archive.asked()) == {uid(path): 1 for path in made} | {bad: 3}
        assert archive.kept().keys() == {uid(path) for path in made} - {bad}
        assert sending.dispatch()["confirmed"] == SLICES - 1
        job = sending.job()
        assert job["state"] == JobState.DEAD
        assert job["reason"] == "archive: The peer answered 0xc000 to 1 of 1 instances."


def test_the_pause_doubles_up_to_the_longest(state: Path, made: list[Path]) -> None:
    full = uid(made[0])
    with Scp(state / "archive", answers={full: [0xA700] * 4}) as archive, Sending(state, archive.port) as sending:
        pauses = [one.pause_s for one in sending.until_it_ends()]

    assert [round(pause / 5 / 2**n) for n, pause in enumerate(pauses[:-1]) if pause] == [1] * 4
    assert pauses[-1] is None


@pytest.mark.parametrize("finds", [True, False])
def test_an_association_that_is_aborted_is_taken_up_where_it_ended(state: Path, made: list[Path], finds: bool) -> None:
    with (
        Scp(state / "archive", abort_at=[4, 7], finds=finds) as archive,
        Sending(state, archive.port) as sending,
    ):
        tries = sending.until_it_ends()

        assert [one.state for one in tries] == [DispatchState.WAITING] * 2 + [DispatchState.DELIVERED]
        assert all_once(archive, made)


def test_an_archive_that_takes_only_implicit_vr_gets_readable_objects_with_equal_pixels(
    state: Path, made: list[Path]
) -> None:
    with (
        Scp(state / "archive", syntaxes=[IMPLICIT_LE]) as archive,
        Sending(state, archive.port) as sending,
    ):
        assert sending.attempt().state is DispatchState.DELIVERED
        kept = archive.kept()
        for path in made:
            arrived, original = pydicom.dcmread(kept[uid(path)]), pydicom.dcmread(path)
            assert arrived.file_meta.TransferSyntaxUID == IMPLICIT_LE
            assert np.array_equal(arrived.pixel_array, original.pixel_array)
            assert arrived.to_json_dict() == original.to_json_dict()


def test_a_warning_is_a_success(state: Path, made: list[Path]) -> None:
    warned = uid(made[1])
    with Scp(state / "archive", answers={warned: [0xB000]}) as archive, Sending(state, archive.port) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED
        assert all_once(archive, made)


def killed_in_mid_delivery(state: Path, archive: Scp, *, at: int) -> None:
    """A worker that dies by SIGKILL after the archive kept instance number `at` and before it answered."""
    command = [sys.executable, "-m", "tests.integration.test_deliver", "send", str(state), str(archive.port)]
    with subprocess.Popen(command, cwd=ROOT) as worker:
        wait_until("the archive keeps an object", lambda: len(archive.asked()) == at, every_s=0.01)
        time.sleep(0.2)  # what was answered is in the records 30 ms later; the kill hits the one that was not
        os.kill(worker.pid, signal.SIGKILL)


def test_after_a_kill_between_sending_and_answer_what_is_there_is_not_sent_again(state: Path, made: list[Path]) -> None:
    with Scp(state / "archive", hang_at=5, finds=True) as archive:
        killed_in_mid_delivery(state, archive, at=5)
        with Sending(state, archive.port) as sending:
            assert sending.dispatch()["confirmed"] == 4
            assert sending.attempt().state is DispatchState.DELIVERED
            assert sending.dispatch()["confirmed"] == SLICES
        assert all_once(archive, made)


def test_an_archive_that_cannot_be_asked_gets_the_unsure_one_again_under_the_same_uid(
    state: Path, made: list[Path]
) -> None:
    with Scp(state / "archive", hang_at=5) as archive:
        killed_in_mid_delivery(state, archive, at=5)
        with Sending(state, archive.port) as sending:
            assert sending.attempt().state is DispatchState.DELIVERED
        assert Counter(archive.asked()) == {uid(path): 1 for path in made} | {uid(made[4]): 2}
        assert len(archive.kept()) == SLICES


def test_an_object_that_changed_on_disk_never_leaves(state: Path, made: list[Path]) -> None:
    (state / "spool" / "out" / made[0].name).write_bytes(b"not what was made")
    with Scp(state / "archive") as archive, Sending(state, archive.port) as sending:
        assert sending.until_it_ends()[-1].state is DispatchState.DEAD
        assert archive.asked() == []
        assert "missing or not what was made" in sending.job()["reason"]


def test_a_folder_gets_whole_files_and_a_second_attempt_changes_nothing(state: Path, made: list[Path]) -> None:
    with Sending(state, 104) as sending:
        to = FolderDestination(kind="folder", name=NAME, path=state / "folder")
        deliverer = Deliverer(
            sending.records, sending.spool, destination=lambda _: to, carrier=_carrier, clock=lambda: sending.now
        )
        for number in (1, 2):
            assert deliverer.attempt(JOB, NAME, number).state is DispatchState.DELIVERED
    found = sorted((state / "folder").rglob("*.*"))
    series = str(pydicom.dcmread(made[0], stop_before_pixels=True).SeriesInstanceUID)
    assert [path.read_bytes() for path in found if path.is_file()] == [path.read_bytes() for path in made]
    assert {path.parent.name for path in found if path.is_file()} == {series}


if __name__ == "__main__":
    if sys.argv[1] == "scp":
        _scp(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        with Sending(Path(sys.argv[2]), int(sys.argv[3])) as one:
            one.attempt()
