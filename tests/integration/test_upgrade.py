"""Upgrade and roll-back: no row is lost, a trial that fails changes nothing, and what was under way goes on.

`tests/data/records-0006.sql` was written by a node of commit deea5a2, before the records had commands of their own: a
job that waits for a destination, one that was killed on its way, a series that was cut off.
"""

import fcntl
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from node.demo.phantom import make_series
from node.errors import BadSetting
from node.records import copies, deliveries, kept, revisions, sets, unfinished
from node.records.database import FILE_NAME, Records, migrate
from node.records.tables import EVENTS, JOBS
from node.records.worklist_tables import ALL
from node.worker import Worker
from tests.running_node import cli, settings_for, write_toml
from tests.site import site
from tests.verdicts import new_records

OLD = Path(__file__).parents[1] / "data" / "records-0006.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state folder with the records of the former version."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    return tmp_path


def content(file: Path) -> dict[str, set[str]]:
    """Every row of every table, as the columns name them."""
    with closing(copies.look(file)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            name: {json.dumps(dict(row), sort_keys=True) for row in connection.execute(f'SELECT * FROM "{name}"')}  # noqa: S608
            for name in copies.tables(connection)
            if name != "alembic_version" and not kept.is_aside(name)
        }


def a_row_of_each(connection: Connection) -> None:
    """A made-up row in every table, each naming the others as the tables want it."""
    values: dict[type, Any] = {str: "x", int: 1, float: 2.5, object: {"a": [1]}}
    for table in ALL.sorted_tables:
        connection.execute(table.insert().values({one.name: values[one.type.python_type] for one in table.columns}))


def test_records_of_the_former_version_are_upgraded_and_none_of_them_is_lost(old: Path) -> None:
    before = content(old / FILE_NAME)
    assert revisions.standing(old).fit is revisions.Fit.OLDER

    migrate(old)

    after = content(old / FILE_NAME)
    assert revisions.standing(old).fit is revisions.Fit.FITS
    for name, rows in before.items():
        wanted = [json.loads(row).items() for row in rows]
        found = [json.loads(row).items() for row in after[name]]
        assert all(any(one <= other for other in found) for one in wanted), name
    assert content(old / "records-0006.sqlite") == before  # for a roll-back by hand
    with closing(Records(old)) as records, records.read() as connection:
        assert [one[1] for one in deliveries.to_resume(connection)] == ["away"]
        assert len(unfinished.sets(connection)) == 1


def test_rolled_back_and_upgraded_again_the_records_hold_what_they_held(old: Path) -> None:
    migrate(old)
    written = content(old / FILE_NAME)

    change = revisions.downgrade(old, "0006")

    assert change is not None
    assert revisions.of(old / FILE_NAME) == "0006"
    rolled_back = content(old / FILE_NAME)
    assert {name: len(rows) for name, rows in rolled_back.items() if name != "events"} == {
        name: len(rows) for name, rows in written.items() if name in rolled_back and name != "events"
    }
    with closing(sqlite3.connect(old / FILE_NAME)) as connection:  # an older program finds what to start
        assert connection.execute("SELECT count(*) FROM sets WHERE run > started_run").fetchone() == (1,)

    migrate(old)
    again = content(old / FILE_NAME)
    assert {name: rows for name, rows in again.items() if name not in ("sets", "events")} == {
        name: rows for name, rows in written.items() if name not in ("sets", "events")
    }


def test_every_roll_back_keeps_every_row_of_every_table(tmp_path: Path) -> None:
    with closing(new_records(tmp_path)) as records, records.write() as connection:
        a_row_of_each(connection)
    written = content(tmp_path / FILE_NAME)
    assert all(written.values())

    for revision in ("0006", "0003", "0001"):  # one after the other, and all the way back
        revisions.downgrade(tmp_path, revision)
        assert revisions.of(tmp_path / FILE_NAME) == revision
    with closing(copies.look(tmp_path / FILE_NAME)) as connection:
        assert [name for name in copies.tables(connection) if kept.is_aside(name)]
    migrate(tmp_path)

    assert content(tmp_path / FILE_NAME) == written
    with closing(copies.look(tmp_path / FILE_NAME)) as connection:
        assert not [name for name in copies.tables(connection) if kept.is_aside(name)]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TABLE jobs (id)", "cannot be brought from 0006 to .*already exists.* as they were"),
        ("DELETE FROM events", "would lose rows of events"),
        ("DELETE FROM sets", "rows of jobs, members name others that are not there"),
    ],
)
def test_an_upgrade_that_fails_on_the_copy_leaves_the_records_to_the_former_version(
    old: Path, monkeypatch: pytest.MonkeyPatch, statement: str, said: str
) -> None:
    before = (old / FILE_NAME).read_bytes()

    def broken(file: Path, *, to: str, down: bool = False) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    monkeypatch.setattr(revisions, "_alembic", broken)

    for change in (migrate, revisions.trial):
        with pytest.raises(BadSetting, match=said):
            change(old)
        assert (old / FILE_NAME).read_bytes() == before
        assert sorted(path.name for path in old.iterdir()) == ["records.lock", FILE_NAME]


def test_a_trial_changes_nothing_while_others_write(old: Path) -> None:
    with closing(Records(old)) as records, records.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET reason = 'written meanwhile'")
        change = revisions.trial(old)

    assert (change.since, change.to) == ("0006", revisions.known()[-1])
    assert revisions.of(old / FILE_NAME) == "0006"
    assert sorted(path.name for path in old.iterdir()) == ["records.lock", FILE_NAME]


def test_records_that_a_node_uses_are_not_changed(old: Path) -> None:
    with (old / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadSetting, match=r"a node \(worker\) uses .*Stop it first"):
            migrate(old)
    assert revisions.of(old / FILE_NAME) == "0006"

    migrate(old)  # its lock is gone with it
    with (old / "receiver-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadSetting, match=r"not rolled back: a node \(receiver-1\)"):
            revisions.downgrade(old, "0006")


def test_without_room_for_copies_nothing_is_begun(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(old)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))

    with pytest.raises(BadSetting, match=r"0 MB free; a change of the records needs 2 MB\. Free some"):
        migrate(old)
    assert revisions.of(old / FILE_NAME) == "0006"


def test_what_was_under_way_goes_on_or_begins_anew_and_is_made_once(tmp_path: Path) -> None:
    files = make_series(tmp_path / "scan", slices=4, seed=1)
    with site(tmp_path) as node:
        state = node.settings.node.state.absolute()
        node.opened("a")
        node.receive(files, "a")
        node.closed("a")
        with Worker(node.settings) as worker:
            while not any(job["state"] == "running" for job in node.jobs()):
                worker.tick()
        with Worker(node.settings):  # as after a restart: its workflow is there, and goes on
            assert begun_anew(node.records) == []

        (state / revisions.JOBS_FILE).unlink()
        with node.records.write() as connection:  # and now nobody knows of it but the records
            connection.exec_driver_sql("UPDATE jobs SET state = 'running'")
        with Worker(node.settings) as worker:
            assert begun_anew(node.records) == ["no workflow"]
            node.until_settled(worker, 1)

        assert [job["state"] for job in node.jobs()] == ["delivered"]
        assert len(list(node.delivered.rglob("*.dcm"))) == 4

        with node.records.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET state = 'running'")
            (job,) = connection.execute(select(JOBS.c.id)).scalars().all()
            deliveries.close(connection, job, at=1.0)  # as when it is made again: it had arrived everywhere
        assert [job["state"] for job in node.jobs()] == ["delivered"]
        with node.records.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET state = 'running'")
        revisions.downgrade(state, "0006")  # what an older program cannot find out for itself
        assert not (state / revisions.JOBS_FILE).exists()
        migrate(state)
        with node.records.read() as connection:
            assert sets.to_start(connection, urgent=False)
        assert begun_anew(node.records) == ["no workflow", "rolled back"]


def begun_anew(records: Records) -> list[str]:
    """Why sets were begun anew, in order."""
    with records.read() as connection:
        found = connection.execute(select(EVENTS.c.detail).where(EVENTS.c.kind == "begun anew").order_by(EVENTS.c.id))
        return [detail["why"] for detail in found.scalars().all()]


def test_what_a_command_writes_during_a_change_is_not_lost(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = revisions._changed

    def beside(state: Path, source: Path, *, to: str) -> revisions.Change:
        with closing(Records(old)) as records, records.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET reason = 'decided meanwhile'")
        return changed(state, source, to=to)

    monkeypatch.setattr(revisions, "_changed", beside)

    with pytest.raises(BadSetting, match=r"A command wrote to the records meanwhile\. Nothing was changed"):
        migrate(old)
    assert revisions.of(old / FILE_NAME) == "0006"
    assert sorted(path.name for path in old.glob("records[.-]*")) == ["records.lock", FILE_NAME]


def test_commands_say_whether_the_records_fit(old: Path) -> None:
    file = write_toml(old.with_name("settings") / "node.toml", settings_for(old.with_name("settings")))
    state = old.with_name("settings") / "state"
    shutil.copytree(old, state)

    code, said, _ = cli("records", "status", "-c", file, "--json")
    assert (code, json.loads(said)["records"], json.loads(said)["fit"]) == (1, "0006", "older")
    code, said, _ = cli("records", "upgrade", "-c", file, "--json")
    assert (code, json.loads(said)["since"]) == (0, "0006")
    assert revisions.standing(state).fit is revisions.Fit.FITS
