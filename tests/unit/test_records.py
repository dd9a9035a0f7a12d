"""Records: a commit survives a power cut, the tables are those of the migrations, and strangers' files are refused."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from node.errors import BadSetting
from node.records import events, jobs, overview, worklist_tables
from node.records.database import FILE_NAME, Records, _prepare_connection, migrate
from node.records.states import JobState, SetState


@pytest.fixture
def state(tmp_path: Path) -> Path:
    migrate(tmp_path)
    return tmp_path


@pytest.fixture
def records(state: Path) -> Iterator[Records]:
    with closing(Records(state)) as opened:
        yield opened


def test_every_connection_has_a_write_ahead_log_full_sync_and_foreign_keys(records: Records) -> None:
    for connecting in (records.read, records.write):
        with connecting() as connection:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert found == ["wal", 2, 1]


def test_a_file_system_that_cannot_do_that_stops_the_start(state: Path) -> None:
    # An in-memory database has no write-ahead log, as some network file systems have none.
    with (
        closing(sqlite3.connect(":memory:")) as memory,
        pytest.raises(BadSetting, match=r"not WAL with synchronous FULL\. Put node\.state on a local disk"),
    ):
        _prepare_connection(memory, None)  # type: ignore[arg-type]  # neither is looked at further


def test_the_models_are_what_the_migrations_make(records: Records) -> None:
    with records.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, worklist_tables.ALL) == []


def test_migrating_twice_changes_nothing_and_loses_nothing(state: Path) -> None:
    with closing(Records(state)) as records, records.write() as connection:
        events.add(connection, at=1.0, kind="test", subject="x")

    migrate(state)

    with closing(Records(state)) as records, records.read() as connection:
        assert [event["kind"] for event in events.of(connection, "x")] == ["test"]


def test_records_of_a_newer_version_are_refused_and_untouched(state: Path) -> None:
    with closing(sqlite3.connect(state / FILE_NAME)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
        raw.commit()

    with pytest.raises(BadSetting, match=r"written by another version of the node\. Run that version or a newer one"):
        migrate(state)
    with closing(sqlite3.connect(state / FILE_NAME)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999_from_the_future",)


def test_a_damaged_file_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 1000)

    with pytest.raises(BadSetting, match=r"cannot be opened: .*\. Check the disk, or restore the file from a backup"):
        migrate(tmp_path)


def test_a_folder_with_signs_that_mean_something_elsewhere_is_served(tmp_path: Path) -> None:
    odd = tmp_path / "100% näher #1"
    odd.mkdir()

    migrate(odd)
    with closing(Records(odd)) as records, records.read() as connection:
        assert events.of(connection, "x") == []


def test_a_transaction_that_fails_leaves_nothing(records: Records) -> None:
    def fail() -> None:
        with records.write() as connection:
            events.add(connection, at=1.0, kind="test", subject="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with records.read() as connection:
        assert events.of(connection, "x") == []


def test_writers_take_turns_and_readers_see_one_state(records: Records) -> None:
    def add(number: int) -> None:
        for _ in range(10):
            with records.write() as connection:
                events.add(connection, at=float(number), kind="test", subject="x")

    with records.read() as before:
        assert events.of(before, "x") == []
        writers = [threading.Thread(target=add, args=(n,)) for n in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert events.of(before, "x") == []  # as it was when the transaction began
    with records.read() as after:
        assert len(events.of(after, "x")) == 60


def test_a_job_needs_its_set(records: Records) -> None:
    job = {
        "id": "j", "set_id": "no such set", "rule": "r", "pipeline": "p", "pipeline_version": "1",
        "engine_sha256": "e", "destinations": ["d"],
    }  # fmt: skip
    with pytest.raises(IntegrityError), records.write() as connection:
        jobs.add(connection, at=1.0, job=job)


def test_the_identity_of_a_job_is_what_goes_in_and_what_is_done_to_it() -> None:
    def key(
        set_id: str = "s", pipeline: str = "p", version: str = "1", engine_sha256: str = "e", **parameters: float
    ) -> str:
        return jobs.job_id(
            set_id=set_id, pipeline=pipeline, version=version, engine_sha256=engine_sha256, parameters=parameters
        )

    assert key() == key()
    assert len({key(), key("t"), key(pipeline="q"), key(version="2"), key(engine_sha256="f")}) == 5
    assert key("ab", "c") != key("a", "bc")
    assert len({key(), key(a=1.0), key(a=2.0), key(b=1.0)}) == 4
    assert key(a=1.0, b=2.0) == key(b=2.0, a=1.0)


def test_counts_name_every_state_also_with_none(records: Records) -> None:
    with records.read() as connection:
        assert overview.sets(connection) == dict.fromkeys(SetState, 0.0)
        assert overview.jobs(connection) == dict.fromkeys(JobState, 0.0)
        assert set(overview.queue(connection, ["a"])) == {(stage, "a") for stage in overview.STAGES}
        assert overview.open_series(connection) == 0.0
