"""Storage commitment: delivered means that the archive vouched for every object; if not, a dead letter says so."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role

from node.demo.phantom import make_series
from node.peers.dimse.commitment import INSTANCE, PUSH_MODEL, Word
from node.proof import keep
from node.records import commitments, deliveries, events
from node.records.states import CommitmentState, DispatchState, JobState
from tests.delivering import JOB, NAME, ROOT, Scp, Sending, finish_job, uid
from tests.peers import HOST, Orthanc, dcmsend, free_port, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for

SLICES = 5
ASK: dict[str, Any] = {"commitment": "ask", "commitment_wait_s": 2.0, "commitment_retry_hours": [1.0, 6.0]}

QUICK = {**ASK, "commitment_wait_s": 0.1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.fixture
def state(tmp_path: Path, made: list[Path]) -> Path:
    finish_job(tmp_path, made)
    return tmp_path


def states(sending: Sending) -> list[CommitmentState]:
    return [one.state for one in sending.questions()]


def test_a_word_on_the_same_association_ends_the_delivery_at_once(state: Path, made: list[Path]) -> None:
    with Scp(state / "archive", commits=["ok"]) as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED

        assert archive.questions() == [[uid(path) for path in made]]
        assert states(sending) == [CommitmentState.COMMITTED]
        assert sending.job()["state"] == JobState.DELIVERED
        assert sending.dispatch()["confirmed"] == SLICES


def test_what_is_not_vouched_for_goes_once_more_and_only_that_is_asked_about_again(
    state: Path, made: list[Path]
) -> None:
    bad = [uid(made[1]), uid(made[3])]
    with Scp(state / "archive", commits=[bad, "ok"]) as archive, Sending(state, archive.port, **ASK) as sending:
        first = sending.attempt()
        assert first.state is DispatchState.WAITING
        assert first.pause_s is not None
        assert 3590 < first.pause_s <= 3600
        assert sending.dispatch()["trouble"] == "Question 1 of 3 to the archive: 0x0112 for 2."
        sending.now += 600
        assert sending.attempt().state is DispatchState.WAITING  # too early: nothing is sent or asked
        assert len(archive.asked()) == SLICES

        sending.now += first.pause_s
        assert sending.attempt().state is DispatchState.DELIVERED
        assert archive.asked()[SLICES:] == bad
        assert archive.questions()[1] == bad
        assert states(sending) == [CommitmentState.RESENT, CommitmentState.COMMITTED]


@pytest.mark.parametrize(
    ("says", "why"),
    [("silent", "no answer yet"), ("refuse", "it did not take the question")],
)
def test_no_word_after_every_question_is_a_dead_letter_and_a_replay_asks_anew(state: Path, says: str, why: str) -> None:
    with Scp(state / "archive", commits=[says, says, says, "ok"]) as archive:
        with Sending(state, archive.port, **QUICK) as sending:
            tries = sending.until_it_ends()

            assert [one.state for one in tries[-2:]] == [DispatchState.WAITING, DispatchState.DEAD]
            assert [round((one.pause_s or 0) / 3600) for one in tries][:2] == [1, 6]
            assert len(archive.questions()) == 3
            assert len(archive.asked()) == SLICES
            assert states(sending)[-1] is CommitmentState.GIVEN_UP
            job = sending.job()
            assert job["state"] == JobState.DEAD
            assert job["reason"] == f"archive: No proof after 3 questions: {why}."
            with sending.records.write() as connection:
                assert deliveries.replay(connection, JOB, at=sending.now) == [NAME]
        with Sending(state, archive.port, **ASK) as again:
            assert again.attempt().state is DispatchState.DELIVERED
        assert len(archive.asked()) == SLICES


def test_without_storage_commitment_c_find_is_the_proof_and_the_record_says_so(state: Path, made: list[Path]) -> None:
    with Scp(state / "archive", finds=True) as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED
        assert states(sending) == [CommitmentState.FOUND]


def test_what_c_find_does_not_show_is_sent_again(state: Path, made: list[Path]) -> None:
    lost = uid(made[2])
    with (
        Scp(state / "archive", finds=True, loses=[lost]) as archive,
        Sending(state, archive.port, **QUICK) as sending,
    ):
        assert sending.attempt().state is DispatchState.WAITING
        assert sending.dispatch()["trouble"] == "Question 1 of 3 to the archive: 1 absent."
        sending.now += 3600
        assert sending.attempt().state is DispatchState.DELIVERED
        assert archive.asked()[SLICES:] == [lost]


def test_an_archive_that_can_prove_nothing_is_said_to(state: Path) -> None:
    with Scp(state / "archive") as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.until_it_ends()[-1].state is DispatchState.DEAD
        assert "neither storage commitment nor C-FIND" in sending.job()["reason"]


def test_a_late_word_in_another_process_ends_the_delivery_and_saying_it_again_changes_nothing(
    state: Path, made: list[Path]
) -> None:
    with Scp(state / "archive", commits=["silent"]) as archive, Sending(state, archive.port, **QUICK) as sending:
        assert sending.attempt().state is DispatchState.WAITING
        (question,) = sending.questions()
        said = keep(sending.records, lambda: sending.now)
        said(word("1.2.3.4", made))  # a transaction that nobody asked for
        assert sending.dispatch()["state"] == DispatchState.WAITING
        for _ in range(2):
            said(word(question.transaction_uid, made))
        for _ in range(2):
            with sending.records.write() as connection:
                commitments.settle(connection, JOB, NAME, at=sending.now)
        assert sending.attempt().state is DispatchState.DELIVERED  # the one that was queued for later
        with sending.records.read() as connection:
            kinds = [one["kind"] for one in events.of(connection, JOB)]
        assert kinds.count("delivered") == 1


def test_a_word_that_leaves_an_object_out_does_not_vouch_for_it(state: Path, made: list[Path]) -> None:
    with Scp(state / "archive", commits=["silent"]) as archive, Sending(state, archive.port, **QUICK) as sending:
        sending.attempt()
        (question,) = sending.questions()
        keep(sending.records, lambda: sending.now)(word(question.transaction_uid, made[1:]))
        (question,) = sending.questions()
        assert question.state is CommitmentState.FAILED
        assert question.failures == {uid(made[0]): "absent"}


def word(transaction_uid: str, files: list[Path]) -> Word:
    return Word(transaction_uid=transaction_uid, committed=frozenset(map(uid, files)), failures={})


def test_a_worker_killed_while_it_waits_for_the_word_asks_again_and_sends_nothing_twice(
    state: Path, made: list[Path]
) -> None:
    with Scp(state / "archive", commits=["silent", "ok"]) as archive:
        command = [sys.executable, "-m", "tests.delivering", "send", str(state), str(archive.port), "ask"]
        with subprocess.Popen(command, cwd=ROOT) as worker:
            wait_until("the archive is asked", lambda: len(archive.questions()) == 1, every_s=0.01)
            os.kill(worker.pid, signal.SIGKILL)
        with Sending(state, archive.port, **ASK) as sending:
            first = sending.attempt()
            if first.pause_s is not None:  # it was killed after the archive's answer to the question was recorded
                sending.now += first.pause_s
                assert sending.attempt().state is DispatchState.DELIVERED
            assert sending.dispatch()["state"] == DispatchState.DELIVERED
        assert len(archive.asked()) == SLICES


def test_a_worker_killed_between_its_steps_goes_on_where_the_records_say(state: Path, made: list[Path]) -> None:
    lost = uid(made[0])
    with Scp(state / "archive", commits=[[lost], "ok"]) as archive, Sending(state, archive.port, **ASK) as sending:
        with sending.records.write() as connection:  # killed before N-ACTION left
            commitments.ask(connection, "1.2.3", JOB, NAME, at=sending.now)
        assert sending.attempt().state is DispatchState.WAITING
        (question,) = sending.questions()
        assert question.transaction_uid != "1.2.3"

        sending.now += 3600
        with sending.records.write() as connection:  # killed after it was noted that what failed goes again
            assert commitments.send_again(connection, question, JOB, NAME, at=sending.now) == 1
        assert sending.attempt().state is DispatchState.DELIVERED
        assert archive.asked()[SLICES:] == [lost]


def test_orthanc_vouches_on_an_association_of_its_own(tmp_path: Path, made: list[Path]) -> None:
    port = free_port()
    with Orthanc(tmp_path / "orthanc", node=(AE_TITLE, port)) as orthanc:
        raw = settings_for(tmp_path, destinations=[orthanc], port=port)
        raw["destinations"][0] |= {**ASK, "commitment_wait_s": 0.0}
        raw["peers"].append({"name": "orthanc", "ae_title": orthanc.aet, "addresses": ["127.0.0.1"]})
        with RunningNode(tmp_path, raw) as node:
            dcmsend(node.port, made, called=AE_TITLE)
            node.wait_settled(1)
            (job,) = node.jobs()
            assert job["state"] == "delivered", job["reason"]
            assert orthanc.count() == SLICES
            with closing(node.records()) as records, records.read() as connection:
                (question,) = commitments.of_dispatch(connection, job["id"], "orthanc")
            assert question.state is CommitmentState.COMMITTED
            (shown,) = node.show(job["source_series_uid"])["sets"][0]["jobs"][0]["destinations"]
            assert shown["proof"] == "storage commitment"
            assert 'imaging_node_commitments_total{destination="orthanc",outcome="committed"} 1.0' in node.metrics()
            assert report_to(node.port, orthanc.aet) == 0x0000  # of a transaction that nobody knows


def report_to(port: int, calling: str) -> int:
    """An N-EVENT-REPORT about an unknown transaction, as an archive sends it: as SCP on its own association."""
    ae = AE(ae_title=calling)
    ae.add_requested_context(PUSH_MODEL)
    association = ae.associate(HOST, port, ae_title=AE_TITLE, ext_neg=[build_role(PUSH_MODEL, scp_role=True)])
    assert association.is_established
    report = Dataset()
    report.TransactionUID = generate_uid()
    report.ReferencedSOPSequence = []
    status, _ = association.send_n_event_report(report, 1, PUSH_MODEL, INSTANCE)
    association.release()
    return int(status.Status)
