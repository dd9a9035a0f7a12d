"""The purge removes what is done with, after its days, and nothing that anybody still waits for."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from node.errors import Refuse
from node.intake.aside import Aside
from node.purge import DAY_S, purge
from node.records import events, instances
from node.records.database import Records, migrate
from node.records.instances import Instance
from node.records.states import GatheringState, JobState, SetState
from node.records.tables import GATHERINGS, JOB_SETS, JOBS, SERIES, SETS
from node.spool import Spool
from tests.running_node import cli, settings_for, write_toml

NOW, DAYS = 1_800_000_000.0, 30.0
LONG_AGO = NOW - 40 * DAY_S


class Archive:
    """Records and spool with one series of two instances, routed into one job that was delivered 40 days ago."""

    def __init__(self, state: Path) -> None:
        migrate(state)
        self.spool, self.records = Spool(state, reserve_bytes=0), Records(state)
        self.spool.prepare()
        with closing(self.spool.desk()) as desk, self.records.write() as connection:
            for number in (1, 2):
                instances.add(connection, self.instance(number, self._file(desk)))
            connection.execute(update(SERIES).values(frozen=2))
            connection.execute(SETS.insert().values(self.set_row("set", SetState.ROUTED)))
            connection.execute(JOBS.insert().values(self.job_row("job", "set")))
        for folder in (self.spool.results("job") / "0", self.spool.work / "job"):
            folder.mkdir(parents=True)
            (folder / "one").write_bytes(b"result")

    def _file(self, desk: Aside) -> str:
        name, descriptor = desk.create(direct=False)
        os.close(descriptor)
        return self.spool.adopt(desk.folder / name)

    @staticmethod
    def instance(number: int, file: str, *, at: float = LONG_AGO) -> Instance:
        return Instance(
            sop_instance_uid=f"1.2.{number}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            study_uid="1.1",
            series_uid="1.2",
            transfer_syntax="1.2.840.10008.1.2.1",
            patient_key="key",
            file=file,
            bytes=1000,
            sha256=f"{number}",
            pixel_sha256=f"{number}",
            header={},
            association="a",
            received_at=at,
        )

    @staticmethod
    def set_row(key: str, state: SetState, *, series_uid: str = "1.2", started: int = 1) -> dict[str, object]:
        return {
            "id": key, "series_uid": series_uid, "version": 1, "state": state, "evidence": "", "reasons": {}, "run": 1,
            "started_run": started, "last_received_at": LONG_AGO, "frozen_at": LONG_AGO,
        }  # fmt: skip

    @staticmethod
    def job_row(
        key: str, set_id: str, *, state: JobState = JobState.DELIVERED, at: float = LONG_AGO
    ) -> dict[str, object]:
        return {
            "id": key, "set_id": set_id, "rule": "ct", "pipeline": "ct-denoise", "pipeline_version": "1",
            "engine_sha256": "", "destinations": [], "state": state, "stage": "deliver", "reason": "",
            "started_at": at, "updated_at": at, "seconds": {},
        }  # fmt: skip

    def run(self, *, dry_run: bool = False) -> list[str]:
        done = purge(self.records, self.spool, keep_days=DAYS, clock=lambda: NOW, dry_run=dry_run)
        return [one.series_uid for one in done]

    def files(self) -> list[Path]:
        return sorted(path for path in self.spool.root.rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    with closing(made.records):
        yield made


def test_a_series_that_was_delivered_long_ago_loses_its_files_and_keeps_its_records(archive: Archive) -> None:
    assert len(archive.files()) == 4

    assert archive.run() == ["1.2"]

    assert archive.files() == []
    with archive.records.read() as connection:
        kept = [one for _, one in instances.of_series(connection, "1.2")]
        said = events.of(connection, "1.2")
    assert [one.file for one in kept] == ["", ""]
    assert [(one["kind"], one["detail"]) for one in said] == [("purged", {"instances": 2, "bytes": 2000})]
    assert archive.run() == []
    with pytest.raises(Refuse, match="was purged"):
        archive.spool.path(kept[0].file)


def test_a_dry_run_says_what_would_go_and_removes_nothing(archive: Archive) -> None:
    assert archive.run(dry_run=True) == ["1.2"]
    assert len(archive.files()) == 4
    assert archive.run() == ["1.2"]


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.DELIVERED, JobState.REFUSED, JobState.DISCARDED}))
def test_a_job_that_waits_or_that_somebody_has_to_look_at_keeps_its_files(archive: Archive, state: JobState) -> None:
    with archive.records.write() as connection:
        connection.execute(update(JOBS).values(state=state))

    assert archive.run() == []
    assert len(archive.files()) == 4


def test_what_is_recent_or_open_or_gathered_for_is_kept(archive: Archive) -> None:
    recent = NOW - (DAYS - 1) * DAY_S
    gathering = {"study_uid": "1.1", "rule": "pair", "state": GatheringState.WAITING, "roles": {}, "since": LONG_AGO}
    other_set = Archive.set_row("other", SetState.ROUTED, series_uid="1.3")
    changes = [
        (update(SERIES).values(last_at=recent), update(SERIES).values(last_at=LONG_AGO)),
        (update(SERIES).values(frozen=1), update(SERIES).values(frozen=2)),
        (update(JOBS).values(updated_at=recent), update(JOBS).values(updated_at=LONG_AGO)),
        (update(SETS).values(state=SetState.FAILED), update(SETS).values(state=SetState.ROUTED)),
        (update(SETS).values(run=2), update(SETS).values(run=1)),
        (GATHERINGS.insert().values(gathering), update(GATHERINGS).values(state=GatheringState.MADE)),
        (SETS.insert().values(other_set), update(SETS).values(evidence="")),
    ]
    for change, back in changes[:-1]:
        with archive.records.write() as connection:
            connection.execute(change)
        assert archive.run() == [], str(change)
        with archive.records.write() as connection:
            connection.execute(back)
    with archive.records.write() as connection:  # a job of another series that takes this one in a role
        connection.execute(changes[-1][0])
        connection.execute(JOBS.insert().values(Archive.job_row("pair", "other", state=JobState.HELD)))
        connection.execute(JOB_SETS.insert().values(job_id="pair", role="second", set_id="set", part="all"))
    assert archive.run() == []
    with archive.records.write() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == "pair").values(state=JobState.DELIVERED))
    assert archive.run() == ["1.2"]


def test_a_series_that_no_rule_takes_is_purged_too(archive: Archive) -> None:
    with archive.records.write() as connection:
        connection.execute(JOBS.delete())
        connection.execute(update(SETS).values(state=SetState.UNMATCHED))

    assert archive.run() == ["1.2"]


def test_the_command_says_what_would_go_and_then_removes_it(archive: Archive, tmp_path: Path) -> None:
    raw = settings_for(tmp_path, node={"state": str(tmp_path), "keep_days": DAYS})
    settings = write_toml(tmp_path / "node.toml", raw)
    with archive.records.write() as connection:  # the command goes by the real clock
        long_ago = time.time() - 40 * DAY_S
        connection.execute(update(SERIES).values(last_at=long_ago))
        connection.execute(update(JOBS).values(updated_at=long_ago))

    assert cli("purge", "-c", settings, "--dry-run")[1] == "Would remove the files of 1 series (2 instances, 0 MB).\n"
    assert len(archive.files()) == 4
    status, said, _ = cli("purge", "-c", settings, "--json")
    assert status == 0
    assert json.loads(said) == {"removed": True, "series": ["1.2"], "instances": 2, "bytes": 2000}
    assert archive.files() == []
