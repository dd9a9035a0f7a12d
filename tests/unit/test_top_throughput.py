"""Throughput from the records: counts, hours and percentiles are exact, whatever the clock did."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import BadSetting
from node.records import throughput
from node.records.database import FILE_NAME
from node.records.reading import reading
from node.records.tables import DELIVERIES, DISPATCHES, JOBS, RESULTS, SERIES, SETS
from node.records.worklist_tables import NOTICES, TRIAGES
from tests.verdicts import new_records, verdict

NOW = 1_800_000_000.0
HOUR = 3600.0


class Node:
    """Records in which jobs stand as the test says."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.records = new_records(state)

    def job(self, key: str, *, arrived: float, **values: Any) -> None:
        """A job whose last slice came at `arrived` and whose set was complete 2 s later."""
        modality = values.pop("modality", "CT")
        frozen_at = values.pop("frozen_at", arrived + 2)
        made = {
            "id": key, "set_id": f"set-{key}", "rule": "r", "pipeline": "ct-denoise", "pipeline_version": "1",
            "engine_sha256": "e", "destinations": [], "state": "delivered", "stage": "deliver", "modality": modality,
            "started_at": arrived + 2, "updated_at": arrived + 9, "arrived_at": arrived, "delivered_at": None,
            "seconds": {"prepare": 1.0, "infer": 4.0},
        }  # fmt: skip
        with self.records.write() as connection:
            connection.execute(
                SETS.insert().values(
                    id=f"set-{key}", series_uid=f"series-{key}", version=1, state="routed", evidence="", reasons={},
                    modality=modality, last_received_at=arrived, frozen_at=frozen_at,
                )
            )  # fmt: skip
            connection.execute(JOBS.insert().values({**made, **values}))

    def dispatch(self, key: str, destination: str, *, since: float, instances: int = 0, **values: Any) -> None:
        made = {"state": "waiting", "attempts": 1, "trouble": "", "updated_at": since}
        uids = [f"{key}-{number}" for number in range(instances)]
        with self.records.write() as connection:
            connection.execute(
                DISPATCHES.insert().values({"job_id": key, "destination": destination, "since": since} | made | values)
            )
            for number, uid in enumerate(uids):
                connection.execute(
                    RESULTS.insert().values(
                        sop_instance_uid=uid, job_id=key, number=number, sop_class_uid="c", source_sop_instance_uid="s",
                        file="f", bytes=1, sha256="x",
                    )
                )  # fmt: skip
                state = "confirmed" if number == 0 else "pending"
                row = {"sop_instance_uid": uid, "destination": destination, "job_id": key, "state": state}
                connection.execute(DELIVERIES.insert().values(row | {"updated_at": since}))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    with closing(made.records):
        yield made


def test_series_count_in_their_hour_by_modality_and_pipeline(node: Node) -> None:
    node.job("a", arrived=NOW - 60, delivered_at=NOW - 10)
    node.job("b", arrived=NOW - 2.5 * HOUR, delivered_at=NOW - 2.4 * HOUR, modality="MR", pipeline="mra-superres")
    node.job("c", arrived=NOW - 2.2 * HOUR, delivered_at=NOW - 1.9 * HOUR)
    node.job("old", arrived=NOW - 30 * HOUR, delivered_at=NOW - 29 * HOUR)
    node.job("held", arrived=NOW - 60, state="held", cause="noise_removed")

    with reading(node.state) as connection:
        came = throughput.received(connection, now=NOW, window=3)
        made = throughput.made(connection, now=NOW, window=3)

    assert [(one.modality, one.pipeline, one.counts) for one in came] == [("CT", "", (1, 0, 2)), ("MR", "", (1, 0, 0))]
    assert [(one.modality, one.pipeline, one.counts) for one in made.hours] == [
        ("CT", "ct-denoise", (0, 1, 1)),
        ("MR", "mra-superres", (1, 0, 0)),
    ]


def test_what_the_clock_made_later_than_now_belongs_to_the_newest_hour(node: Node) -> None:
    node.job("a", arrived=NOW + 1800, delivered_at=NOW + 5000)  # the clock was set back two hours since
    node.job("b", arrived=NOW - 10, delivered_at=NOW - 3000)  # and here in between

    with reading(node.state) as connection:
        made = throughput.made(connection, now=NOW, window=2)

    assert [one.counts for one in made.hours] == [(0, 2)]
    assert made.turnaround["ct-denoise"].median_s == (3200.0 + 0.0) / 2


def test_every_hour_of_a_night_in_which_the_clocks_change_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone_change in (1_792_893_600, 1_774_746_000):  # 2026-10-25 and 2026-03-29, 01:00 UTC
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        try:
            now = zone_change + 4 * HOUR
            moments = [("CT", "p", now - number * HOUR - 1) for number in range(8)]
            (found,) = throughput.hours(moments, now=now, window=8)
        finally:
            monkeypatch.undo()
            time.tzset()
        assert found.counts == (1,) * 8


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert throughput.percentile(sorted(values), share) == pytest.approx(float(np.percentile(values, share * 100)))


def test_turnaround_and_stages_have_exact_percentiles(node: Node) -> None:
    for number in range(1, 21):
        arrived = NOW - 1000 + number
        node.job(f"{number}", arrived=arrived, delivered_at=arrived + number, seconds={"infer": number / 10})
        node.dispatch(f"{number}", "a", since=arrived + number / 2, state="delivered")
        node.dispatch(f"{number}", "b", since=arrived + number / 2, state="delivered")

    with reading(node.state) as connection:
        made = throughput.made(connection, now=NOW, window=1)

    took = made.turnaround["ct-denoise"]
    assert (took.count, took.median_s, took.p95_s) == (20, 10.5, pytest.approx(19.05))
    assert made.stages["infer"].p95_s == pytest.approx(1.905)
    assert made.stages["deliver"].median_s == pytest.approx(5.25)
    assert made.stages["assemble"].median_s == 2.0
    assert "prepare" not in made.stages


def test_what_waits_is_told_by_stage_with_the_age_of_the_oldest(node: Node) -> None:
    node.job("a", arrived=NOW - 52, state="running", stage="infer")
    node.job("b", arrived=NOW - 32, state="queued", stage="infer")
    node.job("c", arrived=NOW - 12, state="paused", stage="route")  # no stage has it
    with node.records.write() as connection:
        connection.execute(
            SERIES.insert().values(
                series_uid="x", study_uid="y", instances=3, frozen=0, first_at=NOW - 7, last_at=NOW - 6
            )
        )
        connection.exec_driver_sql("UPDATE sets SET state = 'frozen' WHERE id = 'set-c'")

    with reading(node.state) as connection:
        found = throughput.waiting(connection, now=NOW)

    assert [(one.stage, one.count, one.oldest_s) for one in found] == [
        ("assemble", 1, 6.0),
        ("route", 1, 10.0),
        ("infer", 2, 43.0),
    ]


def test_what_was_stopped_is_told_by_why_with_the_newest_job(node: Node) -> None:
    for number, state in enumerate(("held", "held", "failed", "dead", "refused", "refused", "paused")):
        node.job(
            f"{number}", arrived=NOW - 100 + number, state=state, cause=f"cause of {state}", reason=f"no. {number}"
        )
    with node.records.write() as connection:  # what was refused long ago is no news
        connection.exec_driver_sql("UPDATE jobs SET updated_at = 1.0 WHERE id IN ('0', '4')")

    with reading(node.state) as connection:
        found = throughput.stopped(connection, now=NOW, window=24)

    assert [(one.state, one.cause, one.count, one.job) for one in found] == [
        ("dead", "cause of dead", 1, "3"),
        ("failed", "cause of failed", 1, "2"),
        ("held", "cause of held", 2, "1"),
        ("paused", "cause of paused", 1, "6"),
        ("refused", "cause of refused", 1, "5"),
    ]


def test_what_waits_for_a_destination_is_told_with_its_newest_trouble(node: Node) -> None:
    for key in ("a", "b", "c"):
        node.job(key, arrived=NOW - 500, state="delivering")
    node.dispatch("a", "pacs", since=NOW - 400, trouble="Nobody answers.", updated_at=NOW - 5, instances=3)
    node.dispatch("b", "pacs", since=NOW - 100, trouble="", attempts=0, updated_at=NOW - 1, instances=2)
    node.dispatch("c", "archive", since=NOW - 50, state="delivered", instances=2)

    with reading(node.state) as connection:
        found = throughput.lines(connection, now=NOW)

    assert set(found) == {"pacs"}
    assert (found["pacs"].jobs, found["pacs"].instances, found["pacs"].oldest_s) == (2, 3, 400.0)
    assert (found["pacs"].trouble, found["pacs"].troubled_s) == ("Nobody answers.", 400.0)


def test_triage_tells_verdicts_what_waits_for_one_and_who_was_not_told(node: Node) -> None:
    node.job("a", arrived=NOW - 100, pipeline="head-ct-triage")
    node.job("b", arrived=NOW - 40, pipeline="head-ct-triage", state="running", stage="infer")
    with node.records.write() as connection:
        connection.execute(TRIAGES.insert().values(verdict("a", "FLAG_RAISED", decided_at=NOW - 90)))
        notice = {
            "job_id": "a", "kind": "flag", "channel": "ris", "way": "hl7", "control_id": "1", "since": NOW - 30,
            "next_at": NOW, "updated_at": NOW, "body": {},
        }  # fmt: skip
        connection.execute(NOTICES.insert().values(notice | {"state": "sent"}))

    with reading(node.state) as connection:
        found = throughput.triage(connection, now=NOW, window=1, pipelines=["head-ct-triage"])

    assert found.verdicts == {"FLAG_RAISED": 1}
    assert (found.waiting, found.oldest_s) == (1, 40.0)
    assert (found.not_acknowledged, found.oldest_notice_s) == (1, 30.0)


def test_reading_makes_and_changes_no_file_whether_anybody_has_the_records_open(node: Node) -> None:
    node.job("a", arrived=NOW)
    before = _files(node.state)
    with reading(node.state) as connection:
        assert throughput.waiting(connection, now=NOW) == ()
        with pytest.raises(Exception, match="readonly"):
            connection.exec_driver_sql("DELETE FROM jobs")
    assert _files(node.state).keys() == before.keys()

    node.records.close()
    before = _files(node.state)
    assert f"{FILE_NAME}-wal" not in before, "the log was not folded"
    with reading(node.state) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one() == 1
    assert _files(node.state) == before


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_records_that_cannot_be_read_are_told_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"no records .* yet\. Start the node once"), reading(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as raw:  # of another version
        raw.execute("CREATE TABLE sets (id TEXT)")
        raw.commit()
    with pytest.raises(BadSetting, match=r"cannot be read: no such column"), reading(tmp_path) as connection:
        throughput.received(connection, now=NOW, window=1)
