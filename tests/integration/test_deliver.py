"""Delivery to archives that misbehave on script: everything arrives once, or a dead letter says why not."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sqlalchemy import update

from node.demo.phantom import make_series
from node.dicom.classes import IMPLICIT_LE
from node.dicom.part10 import split
from node.records import deliveries
from node.records.states import DeliveryState, DispatchState, JobState
from node.records.tables import DISPATCHES
from node.settings import FolderDestination
from node.stages.deliver import Attempt, Deliverer
from tests.delivering import JOB, MR, NAME, ROOT, Scp, Sending, carrier_of, finish_job, uid
from tests.peers import HOST, free_port, wait_until

SLICES = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.fixture
def state(tmp_path: Path, made: list[Path]) -> Path:
    finish_job(tmp_path, made)
    return tmp_path


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
    command = [sys.executable, "-m", "tests.delivering", "send", str(state), str(archive.port)]
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


@pytest.mark.parametrize("change", ["other bytes", "gone", "one bit"])
def test_an_object_that_changed_on_disk_never_leaves(state: Path, made: list[Path], change: str) -> None:
    file = state / "spool" / "out" / made[2].name
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.unlink() if change == "gone" else file.write_bytes(data if change == "one bit" else b"not what was made")
    with Scp(state / "archive") as archive, Sending(state, archive.port) as sending:
        assert sending.until_it_ends()[-1].state is DispatchState.DEAD
        assert uid(made[2]) not in archive.asked()
        assert "missing or not what was made" in sending.job()["reason"]


def test_synthetic_images_stay_here_until_the_destination_takes_them(state: Path, made: list[Path]) -> None:
    to = {"kind": "folder", "name": NAME, "path": state / "folder"}
    with Sending(state, 104) as sending:

        def deliverer(*, synthetic: bool) -> Deliverer:
            return Deliverer(
                sending.records,
                sending.spool,
                destination=lambda _: FolderDestination.model_validate({**to, "synthetic": synthetic}),
                carrier=carrier_of,
                synthesis=lambda _: True,
                clock=lambda: sending.now,
            )

        attempt = deliverer(synthetic=False).attempt(JOB, NAME, 1)
        assert (attempt.state, attempt.pause_s) == (DispatchState.DEAD, None)
        assert "set synthetic = true" in sending.dispatch()["trouble"]
        assert not (state / "folder").exists()
        with sending.records.write() as connection:
            deliveries.replay(connection, JOB, at=sending.now)
        assert deliverer(synthetic=True).attempt(JOB, NAME, 2).state is DispatchState.DELIVERED
    assert [path.read_bytes() for path in sorted((state / "folder").rglob("*.dcm"))] != []


def test_a_folder_gets_whole_files_and_a_second_attempt_changes_nothing(state: Path, made: list[Path]) -> None:
    with Sending(state, 104) as sending:
        to = FolderDestination(kind="folder", name=NAME, path=state / "folder")
        deliverer = Deliverer(
            sending.records,
            sending.spool,
            destination=lambda _: to,
            carrier=carrier_of,
            synthesis=lambda _: False,
            clock=lambda: sending.now,
        )
        for number in (1, 2):
            assert deliverer.attempt(JOB, NAME, number).state is DispatchState.DELIVERED
        (state / "spool" / "out" / made[0].name).write_bytes(b"not what was made")
        with sending.records.write() as connection:
            deliveries.mark(connection, [uid(made[0])], NAME, state=DeliveryState.PENDING, at=sending.now)
            connection.execute(update(DISPATCHES).values(state=DispatchState.WAITING))
        assert deliverer.attempt(JOB, NAME, 3).state is DispatchState.WAITING
        assert "missing or not what was made" in sending.dispatch()["trouble"]
    found = sorted((state / "folder").rglob("*.*"))
    series = str(pydicom.dcmread(made[0], stop_before_pixels=True).SeriesInstanceUID)
    assert [path.read_bytes() for path in found if path.is_file()] == [path.read_bytes() for path in made]
    assert {path.parent.name for path in found if path.is_file()} == {series}


def test_a_refused_connection_and_a_silent_peer_cost_one_probe_each_and_nothing_is_marked_as_sent(
    state: Path, made: list[Path]
) -> None:
    with Sending(state, free_port(), probe_s=30.0) as sending:
        first = sending.attempt()
        assert first.state is DispatchState.WAITING
        assert "no connection to" in sending.dispatch()["trouble"]
        for _ in range(4):
            sending.now += first.pause_s or 0
            first = sending.attempt()
        assert first.pause_s is not None
        assert first.pause_s <= 36.0  # probes never grow rarer than probe_s, ± 20 %
    with socket.create_server((HOST, 0)) as silent, Sending(state, silent.getsockname()[1]) as sending:
        began = time.monotonic()
        sending.attempts[NAME] = 5
        assert sending.attempt().state is DispatchState.WAITING
        assert time.monotonic() - began < 8.0  # connect_timeout_s of 5 s
        assert "did not answer in time" in sending.dispatch()["trouble"]
    with Scp(state / "archive") as archive, Sending(state, archive.port) as sending:
        sending.attempts[NAME] = 6
        assert sending.attempt().state is DispatchState.DELIVERED
        assert all_once(archive, made)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("transient", "Rejected Transient: Local limit exceeded"), ("permanent", "Called AE title not recognised")],
)
def test_a_rejected_association_is_asked_for_again(state: Path, made: list[Path], kind: str, said: str) -> None:
    with Scp(state / "archive", rejects=[kind, 1]) as archive, Sending(state, archive.port) as sending:
        assert sending.attempt().state is DispatchState.WAITING
        assert said in sending.dispatch()["trouble"]
        sending.now += 10
        assert sending.attempt().state is DispatchState.DELIVERED
        assert all_once(archive, made)


def test_an_archive_that_does_not_take_the_class_makes_a_dead_letter(state: Path) -> None:
    with Scp(state / "archive", classes=[MR], finds=True) as archive, Sending(state, archive.port) as sending:
        assert [one.state for one in sending.until_it_ends()] == [DispatchState.WAITING] * 2 + [DispatchState.DEAD]
        assert archive.asked() == []
        assert sending.job()["reason"] == "archive: The peer answered 0x0122 to 8 of 8 instances."


@pytest.mark.parametrize("maximum_pdu", [0, 4096, 16384])
def test_objects_arrive_whole_in_pdus_of_the_size_that_the_peer_takes(
    state: Path, made: list[Path], maximum_pdu: int
) -> None:
    with (
        Scp(state / "archive", maximum_pdu=maximum_pdu) as archive,
        Sending(state, archive.port) as sending,
    ):
        assert sending.attempt().state is DispatchState.DELIVERED
        assert all_once(archive, made)


def test_a_silent_destination_does_not_keep_another_one_waiting(tmp_path: Path, made: list[Path]) -> None:
    finish_job(tmp_path, made, destinations=["archive", "other"])
    with Scp(tmp_path / "peer") as archive, socket.create_server((HOST, 0)) as silent:
        with Sending(tmp_path, silent.getsockname()[1]) as dead:
            assert dead.attempt("other").state is DispatchState.WAITING
        with Sending(tmp_path, archive.port) as sending:
            assert sending.attempt("archive").state is DispatchState.DELIVERED
            assert all_once(archive, made)
            assert sending.dispatch("other")["confirmed"] == 0
            assert sending.job()["state"] == JobState.DELIVERING
