"""Faults that nobody planned: each ends one thing with a reason, and nothing else waits for it."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from node import app, flow
from node.commands import look
from node.demo.phantom import make_series
from node.dicom.part10 import split
from node.errors import BadSetting
from node.prepared import Prepared
from node.records import instances, jobs, sets
from node.records.database import Records
from node.records.states import DispatchState, Ending
from node.records.tables import DISPATCHES, INSTANCES
from node.settings import Settings, parse
from node.stages.assemble import Assembler
from node.stages.receive import Arrival
from node.worker import Worker
from tests.peers import wait_until
from tests.running_node import settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = parse(settings_for(tmp_path, assemble={"quiet_s": 0.5}), source="the test")
    app.prepare_state(made)
    return made


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    with closing(Records(settings.node.state)) as opened:
        yield opened


def receive(settings: Settings, records: Records, files: list[Path]) -> str:
    """Store files as the receiver does; the Series Instance UID."""
    with records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="OTHER", receiver="test", at=time.time())
    child = app.decoder_of(settings)
    with closing(child), closing(app.intake_of(settings, records, app.spool_of(settings), child)) as intake:
        for path in files:
            meta, data_set = split(path)
            intake.store(
                Arrival(
                    sop_class_uid=meta.sop_class_uid,
                    sop_instance_uid=meta.sop_instance_uid,
                    transfer_syntax=meta.transfer_syntax,
                    data_set=data_set,
                    association="a",
                    calling_ae="OTHER",
                )
            )
    with records.write() as connection:
        instances.close_association(connection, key="a", at=time.time(), ending=Ending.RELEASED)
    with records.read() as connection:
        return sets.series_uids(connection)[-1]


def until(worker: Worker, what: str, condition: Callable[[], bool]) -> None:
    def ticked() -> bool:
        worker.tick()
        return condition()

    wait_until(what, ticked, timeout_s=60)


def test_a_set_whose_routing_breaks_says_so_and_can_be_replayed(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    series = receive(settings, records, make_series(tmp_path / "scan", slices=4))
    (set_id,) = Assembler(records, settings.assemble, clock=time.time).freeze_complete(everything_is_here=True)
    with records.write() as connection:
        (member, *_) = instances.of_series(connection, series)
        connection.execute(update(INSTANCES).where(INSTANCES.c.id == member[0]).values(header={"Modality": 5}))

    with Worker(settings) as worker:
        until(worker, "the set failed", lambda: look_state(records, set_id) == "failed")
        with records.write() as connection:
            connection.execute(update(INSTANCES).where(INSTANCES.c.id == member[0]).values(header=member[1].header))
        found = look.show(records, series)
        assert "A stage broke with TypeError" in found["sets"][0]["rules"]["routing"][0]
        assert look.replay(records, series) == ["version 1 of the series, from routing on"]
        until(worker, "the job is delivered", lambda: job_state(records, series) == "delivered")


def test_a_series_that_cannot_be_looked_at_keeps_no_other_waiting(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    broken = receive(settings, records, make_series(tmp_path / "one", slices=4))
    with records.write() as connection:
        connection.execute(update(INSTANCES).values(header={"Modality": 5}))
        instances_of = instances.association_keys(connection, broken)
        assert instances_of == ["a"]
    files = make_series(tmp_path / "two", slices=4, seed=1)
    with records.write() as connection:
        connection.exec_driver_sql("UPDATE associations SET id = 'b'")
        connection.exec_driver_sql("UPDATE instances SET association = 'b'")
    healthy = receive(settings, records, files)
    time.sleep(0.6)

    (set_id,) = Assembler(records, settings.assemble, clock=time.time).freeze_complete()

    with records.read() as connection:
        assert sets.get(connection, set_id)["series_uid"] == healthy


def test_what_waits_for_a_destination_that_is_gone_becomes_a_dead_letter(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    series = receive(settings, records, make_series(tmp_path / "scan", slices=4))
    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "the job is delivered", lambda: job_state(records, series) == "delivered")
    with records.write() as connection:
        connection.execute(update(DISPATCHES).values(state=DispatchState.WAITING, destination="gone"))
        connection.exec_driver_sql("UPDATE jobs SET state = 'delivering'")

    with Worker(settings):
        assert job_state(records, series) == "dead"

    (job,) = look.show(records, series)["sets"][0]["jobs"]
    assert "no longer name this destination" in job["reason"]


def test_nothing_to_replay_is_said(settings: Settings, records: Records) -> None:
    with pytest.raises(BadSetting, match="know no series"):
        look.replay(records, "1.2.3")


def look_state(records: Records, set_id: str) -> str:
    with records.read() as connection:
        return str(sets.get(connection, set_id)["state"])


def job_state(records: Records, series: str) -> str:
    found = look.show(records, series)["sets"]
    return str(found[0]["jobs"][0]["state"]) if found and found[0]["jobs"] else ""


def test_an_open_series_says_what_it_waits_for(settings: Settings, records: Records, tmp_path: Path) -> None:
    files = make_series(tmp_path / "scan", slices=6)
    series = receive(settings, records, [*files[:2], *files[3:]])

    assert "gap of 5.00 mm" in look.show(records, series)["waits_for"]


def test_a_machine_that_restarts_between_stages_makes_the_arrays_again(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    """Arrays between stages lie in a folder of this boot; after a power cut they are gone and the job goes on."""
    receive(settings, records, make_series(tmp_path / "scan", slices=4))
    (set_id,) = Assembler(records, settings.assemble, clock=time.time).freeze_complete(everything_is_here=True)
    with Worker(settings):
        work = flow.bound()
        (job_id,) = work.route(set_id)
        prepared = Prepared.from_json(work.prepare(job_id))
        result = work.infer(job_id, prepared)
        shutil.rmtree(work.arrays.spool.work)

        assert not work.check(job_id, prepared, result).held
        shutil.rmtree(work.arrays.spool.work)
        assert work.derive(job_id, prepared, result) == [("folder", 1, 1)]

    with records.read() as connection:
        assert len(jobs.results(connection, job_id)) == 4
