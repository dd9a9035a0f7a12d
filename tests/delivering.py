"""A finished job that is to be delivered, and archives that do as a script says. For tests of delivery and its proof.

python -m tests.delivering scp FOLDER SCRIPT       an archive that does as SCRIPT (JSON) says
python -m tests.delivering send STATE PORT [ask]   one attempt to deliver, to be killed in the middle
"""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.peers.carrier import Carrier
from node.peers.dimse.carrier import DicomCarrier
from node.peers.dimse.commitment import PUSH_MODEL
from node.peers.dimse.connect import Address
from node.peers.dimse.query import STUDY_ROOT_FIND
from node.peers.folder import FolderCarrier
from node.proof import Proof
from node.records import commitments, deliveries, instances, jobs, sets
from node.records.commitments import Commitment
from node.records.database import Records, migrate
from node.records.instances import Instance
from node.records.states import Ending
from node.settings import Destination, DicomDestination
from node.spool import Spool
from node.stages.deliver import Attempt, Deliverer
from tests.peers import HOST

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ROOT = Path(__file__).parents[1]
JOB, NAME = "ab" * 32, "archive"


class Scp(AbstractContextManager["Scp"]):
    """The scripted archive in a process of its own.

    answers:  SOP Instance UID -> statuses of the first answers to it; Success afterwards
    abort_at: numbers of the C-STORE requests, from 1, that are answered by an abort, nothing kept
    hang_at:  the number of the request that is kept but not answered for 5 s
    syntaxes: that it takes
    finds:    answers C-FIND about what it has
    loses:    UIDs that it answers with success and does not keep, the first time
    classes:  SOP classes that it takes
    rejects:  rejects so many associations, then takes them: ["transient", 2] or ["permanent", 2]
    maximum_pdu: that it takes, 0 for any
    commits:  what it says to each question for storage commitment, the last one again and again: "ok", "silent",
              "refuse", or the UIDs that it does not vouch for; always on the same association, and after its answer
    """

    def __init__(self, folder: Path, **script: Any) -> None:
        self.folder = folder
        folder.mkdir()
        command = [sys.executable, "-m", "tests.delivering", "scp", str(folder), json.dumps(script)]
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

    def questions(self) -> list[list[str]]:
        """SOP Instance UIDs of each question for storage commitment."""
        log = self.folder / "questions"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def kept(self) -> dict[str, Path]:
        return {path.stem: path for path in self.folder.glob("*.dcm")}


def _scp(folder: Path, script: dict[str, Any]) -> None:
    answers = {uid: list(statuses) for uid, statuses in script.get("answers", {}).items()}
    kind, rejections = script.get("rejects", ["", 0])
    commits, loses = list(script.get("commits", ())), list(script.get("loses", ()))
    count = 0

    def requested(event: Any) -> None:
        nonlocal rejections
        if rejections:
            rejections -= 1
            event.assoc.acse.send_reject(*((0x02, 0x03, 0x02) if kind == "transient" else (0x01, 0x01, 0x07)))
            event.assoc.is_rejected = True
            event.assoc.kill()

    def store(event: Any) -> Dataset:
        nonlocal count
        count += 1
        uid = str(event.request.AffectedSOPInstanceUID)
        answer = Dataset()
        answer.Status = 0x0110
        if count in script.get("abort_at", ()):
            event.assoc.abort()
            return answer
        answer.Status = answers[uid].pop(0) if answers.get(uid) else 0x0000
        if answer.Status:
            answer.ErrorComment = "as the script says"
        if answer.Status in (0x0000, 0xB000) and not (uid in loses and not loses.remove(uid)):
            (folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        with (folder / "asked").open("a") as log:
            log.write(f"{uid}\n")
        if count == script.get("hang_at"):
            time.sleep(5)
        return answer

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for path in folder.glob("*.dcm"):
            if event.identifier.SeriesInstanceUID != pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID:
                continue
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = path.stem
            yield 0xFF00, found

    def action(event: Any) -> tuple[int, None]:
        question = event.action_information
        with (folder / "questions").open("a") as log:
            log.write(json.dumps([str(one.ReferencedSOPInstanceUID) for one in question.ReferencedSOPSequence]) + "\n")
        says = commits.pop(0) if len(commits) > 1 else commits[0]
        if says == "refuse":
            return 0x0110, None
        if says != "silent":
            bad = [] if says == "ok" else says
            threading.Timer(0.1, _report, (event.assoc, question, bad)).start()
        return 0x0000, None

    ae = AE(ae_title="ARCHIVE")
    for sop_class in script.get("classes", [CT]):
        ae.add_supported_context(sop_class, script.get("syntaxes", [EXPLICIT_LE, IMPLICIT_LE]))
    if script.get("finds"):
        ae.add_supported_context(STUDY_ROOT_FIND)
    if commits:
        ae.add_supported_context(PUSH_MODEL)
    if "maximum_pdu" in script:
        ae.maximum_pdu_size = script["maximum_pdu"]
    handlers: list[Any] = [
        (evt.EVT_REQUESTED, requested), (evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_N_ACTION, action),
    ]  # fmt: skip
    server = ae.start_server((HOST, 0), block=False, evt_handlers=handlers)
    assert server is not None
    print(server.socket.getsockname()[1], flush=True)
    signal.pause()


def _report(association: Any, question: Dataset, bad: Sequence[str]) -> None:
    report = Dataset()
    report.TransactionUID = question.TransactionUID
    named = list(question.ReferencedSOPSequence)
    report.ReferencedSOPSequence = [one for one in named if one.ReferencedSOPInstanceUID not in bad]
    failed = [one for one in named if one.ReferencedSOPInstanceUID in bad]
    for one in failed:
        one.FailureReason = 0x0112
    if failed:
        report.FailedSOPSequence = failed
    association.send_n_event_report(report, 2 if failed else 1, PUSH_MODEL, f"{PUSH_MODEL}.1")


class Sending(AbstractContextManager["Sending"]):
    """A finished job in real records and a real spool, and a deliverer whose clock the test moves.

    synthesis:   whether the images of a pipeline show what nobody acquired
    destination: keys of the destination that differ
    """

    def __init__(
        self, state: Path, port: int, *, synthesis: Callable[[str], bool] = lambda _: False, **destination: Any
    ) -> None:
        self.now = time.time()
        self.attempts: dict[str, int] = {}
        self.records = Records(state)
        self.spool = Spool(state, reserve_bytes=0)
        usual = {"ae_title": "ARCHIVE", "host": HOST, "retry_longest_s": 3600.0, "response_timeout_s": 20.0}

        def settings(name: str) -> DicomDestination:
            return DicomDestination.model_validate({"name": name, "port": port, **usual, **destination})

        def proof(to: Destination) -> Proof | None:
            if to.kind != "dicom" or to.commitment == "off":
                return None
            return Proof(self.records, to, address_of(to), clock=lambda: self.now)

        self.deliverer = Deliverer(
            self.records,
            self.spool,
            destination=settings,
            carrier=carrier_of,
            proof=proof,
            synthesis=synthesis,
            clock=lambda: self.now,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.records.close()

    def attempt(self, name: str = NAME) -> Attempt:
        self.attempts[name] = self.attempts.get(name, 0) + 1
        return self.deliverer.attempt(JOB, name, self.attempts[name])

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

    def dispatch(self, name: str = NAME) -> dict[str, Any]:
        with self.records.read() as connection:
            return next(one for one in deliveries.of_job(connection, JOB) if one["destination"] == name)

    def questions(self) -> list[Commitment]:
        """What the archive was asked to vouch for."""
        with self.records.read() as connection:
            return commitments.of_dispatch(connection, JOB, NAME)


def address_of(to: DicomDestination) -> Address:
    """How to call it."""
    return Address(
        host=to.host, port=to.port, called_ae=to.ae_title, calling_ae="IMAGING-NODE", connect_s=5.0,
        response_s=to.response_timeout_s, implementation_uid=IMPLEMENTATION_CLASS_UID, tls=to.tls,
    )  # fmt: skip


def carrier_of(to: Destination) -> Carrier:
    """The way to it."""
    if to.kind == "folder":
        return FolderCarrier(to.path)
    assert to.kind == "dicom"
    return DicomCarrier(address_of(to))


def uid(path: Path) -> str:
    """The SOP Instance UID of a file."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def finish_job(state: Path, made: Sequence[Path], *, destinations: Sequence[str] = (NAME,)) -> None:
    """Records and spool of a node that has made a series; delivering it is all that is left."""
    migrate(state)
    Spool(state, reserve_bytes=0).prepare()
    out = state / "spool" / "out"
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
    with closing(Records(state)) as records, records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="A", receiver="r", at=1.0)
        instances.close_association(connection, key="a", at=1.0, ending=Ending.RELEASED)
        instances.add(connection, source)
        set_id = sets.freeze(connection, instances.of_series(connection, "1.2.4"), evidence="test", at=2.0)
        job = {"id": JOB, "set_id": set_id, "rule": "r", "pipeline": "p", "pipeline_version": "1",
               "engine_sha256": "e", "destinations": list(destinations)}  # fmt: skip
        jobs.add(connection, at=2.0, job=job)
        now, series = time.time(), str(first.SeriesInstanceUID)
        jobs.finish_derive(connection, JOB, at=now, series_uid=series, description="", results=results)


if __name__ == "__main__":
    if sys.argv[1] == "scp":
        _scp(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        more = {"commitment": "ask", "commitment_wait_s": 30.0} if sys.argv[4:] else {}
        with Sending(Path(sys.argv[2]), int(sys.argv[3]), **more) as one:
            one.attempt()
