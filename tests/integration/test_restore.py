"""After a restore nothing confirmed is missing and nothing is told or sent twice: who may have it is asked first."""

import fcntl
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from node import app
from node.backup import restoring
from node.commands.flags import settle
from node.commands.look import replay
from node.demo.phantom import make_series
from node.errors import BadSetting
from node.records import copies, deliveries, instances, jobs, open_series, restored, sets, subscriptions
from node.records.database import FILE_NAME, Records
from node.records.states import DeliveryState, DispatchState, NoticeState, StopCause
from node.records.tables import COMMITMENTS, DELIVERIES, SETS
from node.records.worklist_tables import NOTICES
from node.settings import Assemble
from node.settings.flags import Label
from node.stages.assemble import Assembler
from node.worklist import ups_events
from node.worklist.flags import queue_flag
from tests.backups import Kept, kept, with_a_job
from tests.delivering import JOB, NAME, Scp, Sending, uid
from tests.telling import hl7_channel, raise_flag
from tests.verdicts import FACTS, add_verdict, new_records

SLICES = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.fixture
def node(tmp_path: Path, made: list[Path]) -> Kept:
    return with_a_job(tmp_path, made)


def test_what_arrived_after_the_backup_is_not_sent_again(node: Kept, made: list[Path]) -> None:
    with Scp(node.folder / "archive", finds=True) as archive:
        node.take()
        with Sending(node.state, archive.port) as sending:
            assert sending.attempt().state is DispatchState.DELIVERED

        done = node.restore()
        assert done.doubt.objects == {NAME: SLICES}
        with Sending(node.state, archive.port) as sending:
            assert sending.dispatch()["confirmed"] == 0
            assert sending.attempt().state is DispatchState.DELIVERED

        assert sorted(archive.asked()) == sorted(map(uid, made))  # each of them once


def test_only_what_did_not_arrive_is_sent(node: Kept, made: list[Path]) -> None:
    with Scp(node.folder / "archive", finds=True, abort_at=[2]) as archive:
        node.take()
        with Sending(node.state, archive.port) as sending:
            sending.attempt()
        assert len(archive.kept()) == 1

        node.restore()
        with Sending(node.state, archive.port) as sending:
            assert sending.until_it_ends()[-1].state is DispatchState.DELIVERED

        assert sorted(archive.kept()) == sorted(map(uid, made))
        assert sorted(archive.asked()) == sorted(map(uid, made))


def test_where_nobody_can_be_asked_a_person_decides(node: Kept, made: list[Path]) -> None:
    with Scp(node.folder / "archive") as archive:
        node.take()
        with Sending(node.state, archive.port) as sending:
            sending.attempt()

        node.restore()
        with Sending(node.state, archive.port) as sending:
            assert sending.attempt().state is DispatchState.DEAD
            assert "may have it and cannot be asked; look there, then replay" in sending.dispatch()["trouble"]
            assert sending.job()["cause"] == StopCause.IN_DOUBT
            assert len(archive.asked()) == SLICES

            with sending.records.write() as connection:
                assert deliveries.replay(connection, JOB, at=time.time()) == [NAME]
            assert sending.attempt().state is DispatchState.DELIVERED
            assert len(archive.asked()) == 2 * SLICES


def test_what_is_made_after_a_restore_begins_in_doubt_as_far_as_it_may_be_there(node: Kept) -> None:
    node.take()
    node.restore()

    with node.records() as records, records.write() as connection:
        now = time.time()
        state = restored.first_state
        assert state(connection, JOB, at=now) is DeliveryState.DOUBTED  # of a series that was here at the backup
        connection.execute(update(SETS).values(last_received_at=now))
        assert state(connection, JOB, at=now) is DeliveryState.SENT  # of one that its sender may have repeated
        assert state(connection, JOB, at=now + restored.ASK_FOR_S) is DeliveryState.PENDING


def test_without_a_restore_nothing_is_in_doubt(node: Kept) -> None:
    with node.records() as records, records.write() as connection:
        assert restored.first_state(connection, JOB, at=time.time()) is DeliveryState.PENDING
        assert restored.cut_off(connection) == {}
        assert not restored.is_first_start(connection, at=1.0)
    with Scp(node.folder / "archive") as archive, Sending(node.state, archive.port) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED  # nobody is asked


def test_what_an_archive_did_not_vouch_for_is_asked_about_before_it_is_sent_again(node: Kept) -> None:
    with Scp(node.folder / "archive", commits=[["1.2"], "ok"]) as archive:
        with Sending(node.state, archive.port, commitment="ask", commitment_wait_s=5.0) as sending:
            sending.attempt()
            with sending.records.write() as connection:  # the archive's word: it lost them all
                connection.execute(update(COMMITMENTS).values(state="failed", failures={"1.2": "absent"}))
                connection.execute(update(DELIVERIES).values(state=DeliveryState.CONFIRMED))
                connection.exec_driver_sql("UPDATE dispatches SET state = 'waiting'")
        node.take()
        node.restore()

        with Sending(node.state, archive.port, commitment="ask", commitment_wait_s=5.0) as sending:
            sending.now += 2 * 3600.0
            sending.attempt()
            assert sending.dispatch()["state"] == DispatchState.DELIVERED
        assert len(archive.asked()) == SLICES


def test_flags_that_may_have_been_told_wait_for_a_person_and_labels_are_set_again(tmp_path: Path) -> None:
    node = kept(tmp_path)
    label = Label(name="label", destination="orthanc")
    with closing(new_records(node.state)) as records:
        raise_flag(records, [hl7_channel(1), label], "a" * 64)
        raise_flag(records, [hl7_channel(1, "told")], "b" * 64)
        with records.write() as connection:
            connection.execute(update(NOTICES).where(NOTICES.c.channel == "told").values(state=NoticeState.DELIVERED))
    node.take()

    done = node.restore()

    assert done.doubt.notices == {"ris": 1}
    with node.records() as records:
        with records.read() as connection:
            found = dict(connection.execute(select(NOTICES.c.channel, NOTICES.c.state)).all())
        assert found == {"ris": NoticeState.LOST, "label": NoticeState.WAITING, "told": NoticeState.DELIVERED}

        raise_flag(records, [hl7_channel(1, "late")], "c" * 64)  # its series was here at the backup
        with records.write() as connection:
            row = add_verdict(connection, "d" * 64, decided_at=time.time())
            connection.execute(update(SETS).where(SETS.c.id == f"set-{'d' * 64}").values(last_received_at=time.time()))
            queue_flag(connection, row, [hl7_channel(1, "new")], FACTS)
            found = dict(connection.execute(select(NOTICES.c.channel, NOTICES.c.state)).all())
        assert (found["late"], found["new"]) == (NoticeState.LOST, NoticeState.WAITING)

        settle(records, "a" * 64, by="RIS desk")
        with records.read() as connection:
            found = dict(connection.execute(select(NOTICES.c.channel, NOTICES.c.state)).all())
        assert found["ris"] == NoticeState.DELIVERED
        with pytest.raises(BadSetting, match="was given up"):
            settle(records, "a" * 64, by="RIS desk")


def test_subscribers_hear_that_the_list_begins_cold_and_nothing_else(node: Kept) -> None:
    with node.records() as records, records.write() as connection:
        subscriptions.put(connection, "WATCHER", subscriptions.ALL, locked=False, at=1.0)
        subscriptions.tell_one(connection, "WATCHER", "1.2", 1, {}, at=1.0)
    node.take()
    assert node.restore().doubt.events == 1

    for lists in ("COLD START", "WARM START"):  # the first start, and any later one
        with node.records() as records, records.write() as connection:
            cold = restored.is_first_start(connection, at=time.time())
            ups_events.restarted(connection, [], at=time.time(), kept=not cold)
            (event,) = subscriptions.waiting(connection, "WATCHER", most=9)
        assert lists in str(event.body)


def test_a_series_that_was_coming_in_waits_for_its_sender_and_not_for_silence(tmp_path: Path) -> None:
    node = kept(tmp_path)
    series = "1.2.4"
    with closing(new_records(node.state)) as records, records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="CT", receiver="r", at=1.0)
        for number in range(3):
            instances.add(connection, slice_of(series, number, "a"))
    node.take()
    assert node.restore().doubt.series == [series]

    now = time.time() + 3600.0
    with node.records() as records:
        assembler = Assembler(records, Assemble(), clock=lambda: now)
        assert assembler.freeze_complete() == []
        assert "a restore cut it off" in assembler.look(series).reason  # type: ignore[union-attr]

        with records.write() as connection:  # the sender comes again, with one more
            instances.open_association(connection, key="b", calling_ae="CT", receiver="r", at=now)
            instances.add(connection, slice_of(series, 3, "b", at=now))
            instances.close_association(connection, key="b", at=now, ending="released")  # type: ignore[arg-type]
        assert "restore" not in assembler.look(series).reason  # type: ignore[union-attr]


def test_a_person_may_take_a_cut_off_series_as_it_is(tmp_path: Path) -> None:
    node = kept(tmp_path)
    with closing(new_records(node.state)) as records, records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="CT", receiver="r", at=1.0)
        instances.add(connection, slice_of("1.2.4", 0, "a"))
    node.take()
    node.restore()

    with node.records() as records:
        assert replay(records, "1.2.4") == ["the series as it is; nothing more of it is waited for"]
        assert len(Assembler(records, Assemble(), clock=lambda: time.time() + 60.0).freeze_complete()) == 1
        with records.read() as connection:
            assert open_series.every(connection) == []


def test_what_was_under_way_begins_anew_and_what_had_ended_stays(node: Kept) -> None:
    with node.records() as records, records.write() as connection:
        connection.exec_driver_sql("UPDATE sets SET started_run = 1, state = 'routed'")
        jobs.note(connection, JOB, at=1.0, state="running")
        for state in ("held", "dead", "delivered", "refused", "failed"):
            job = jobs.get(connection, JOB) | {"id": state.ljust(64, "0"), "state": state}
            connection.execute(jobs.JOBS.insert().values(job))
    node.take()

    done = node.restore()

    assert (done.doubt.jobs, done.doubt.jobs_by_state["held"]) == (1, 1)
    with node.records() as records, records.read() as connection:
        assert len(sets.to_start(connection, urgent=False)) == 1


def test_it_refuses_a_state_that_is_used_or_full_and_moves_it_aside_if_told(node: Kept) -> None:
    node.take()
    with (node.state / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadSetting, match=r"Nothing is restored: a node \(worker\) uses"):
            node.restore()
    with pytest.raises(BadSetting, match=r"is not empty\. Add --aside"):
        restoring.restore(node.settings, node.place)

    done = node.restore()

    assert done.aside is not None
    assert (done.aside / FILE_NAME).exists()
    assert {path.name for path in node.state.iterdir()} == {done.aside.name, "spool", FILE_NAME}
    assert (node.state / "spool" / "in" / "x" / "x").read_bytes() == b"received"
    assert copies.faults(node.state / FILE_NAME) == []


def test_a_restore_that_was_interrupted_is_no_state_and_begins_again(
    node: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = node.take()
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "migrate", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            node.restore()
    with pytest.raises(BadSetting, match=r"did not come to its end\. Run the same `imaging-node restore` again"):
        app.prepare_state(node.settings)

    done = restoring.restore(node.settings, taken.folder)  # what was there is aside already

    app.prepare_state(node.settings)
    assert done.doubt.objects == {NAME: SLICES}


def test_a_backup_of_a_newer_program_is_refused(node: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    node.take()
    monkeypatch.setattr("node.records.revisions.known", lambda: ["0001"])

    with pytest.raises(BadSetting, match=r"Install version .* of the node or a newer one"):
        node.restore()


def test_a_small_disk_is_seen_before_anything_is_changed(node: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    node.take()
    monkeypatch.setattr("node.backup.files.free_bytes", lambda folder: 1000)

    with pytest.raises(BadSetting, match=r"has 0 MB free; the restore needs \d+ MB"):
        node.restore()
    with closing(Records(node.state)) as records, records.read() as connection:
        assert jobs.get(connection, JOB)["state"] == "delivering"


def slice_of(series_uid: str, number: int, association: str, *, at: float = 2.0) -> instances.Instance:
    """A received slice, as far as its completeness goes."""
    position = ("0", "0", str(5 * number))
    return instances.Instance(
        sop_instance_uid=f"{series_uid}.{number}", sop_class_uid="1.2.840.10008.5.1.4.1.1.2", study_uid="1.2.3",
        series_uid=series_uid, transfer_syntax="1.2.840.10008.1.2.1", patient_key="", file="", bytes=1, sha256="0" * 64,
        pixel_sha256="", association=association, received_at=at,
        header={"ImagePositionPatient": position, "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0")},
    )  # fmt: skip
