"""What is counted from the records: each series once, whatever runs twice, labels of closed sets, in time."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from engines.store import weights_path
from node import signs
from node.dicom.classes import modality_label
from node.metrics import exposition
from node.page.engine_files import EngineFiles
from node.page.levels import Levels, Site
from node.page.processes import usage
from node.records import deliveries, jobs, overview, turnarounds
from node.records.database import FILE_NAME, Records, migrate
from node.records.states import DispatchState, JobState, StopCause
from node.records.tables import DISPATCHES, JOBS, SERIES, SETS
from node.spool import Spool
from tests.other_engine import other_engine

NOW = 10_000.0
PIPELINE = "ct-denoise"
FORMER = Path(__file__).parents[1] / "data" / "records-0006.sql"  # written by a node of before


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    migrate(tmp_path)
    with closing(Records(tmp_path)) as opened:
        yield opened


def series(number: int, *, modality: str = "CT", at: float = 0.0) -> dict[str, Any]:
    return {
        "id": f"set-{number}", "series_uid": f"1.2.{number}", "version": 1, "state": "routed", "evidence": "",
        "reasons": {}, "started_run": 1, "urgent": 0, "modality": modality, "last_received_at": at, "frozen_at": at,
    }  # fmt: skip


def job(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": f"job-{number}", "set_id": f"set-{number}", "rule": "r", "pipeline": PIPELINE, "pipeline_version": "1",
        "engine_sha256": "", "destinations": ["pacs"], "state": "delivering", "stage": "deliver", "started_at": 0.0,
        "updated_at": 0.0, "arrived_at": 0.0, "modality": "CT", "seconds": {}, **values,
    }  # fmt: skip


def dispatch(number: int, **values: Any) -> dict[str, Any]:
    return {
        "job_id": f"job-{number}", "destination": "pacs", "state": "waiting", "since": 0.0, "updated_at": 0.0, **values
    }  # fmt: skip


def page(records: Records, state: Path, site: Site, *, now: float = NOW) -> str:
    spool = Spool(state, reserve_bytes=1 << 20)
    spool.prepare()
    return exposition(state, Levels(records, spool, state, site, clock=lambda: now).read()).decode()


def test_a_job_counts_as_delivered_once_whatever_comes_after(records: Records, tmp_path: Path) -> None:
    with records.write() as connection:
        connection.execute(SETS.insert(), [series(1)])
        connection.execute(JOBS.insert(), [job(1)])
        connection.execute(DISPATCHES.insert(), [dispatch(1)])
    for at in (90.0, 5000.0):  # a step that runs again, or a note that is added later and delivered, too
        with records.write() as connection:
            deliveries.end(connection, "job-1", "pacs", state=DispatchState.DELIVERED, at=at)
    text = page(records, tmp_path, Site(pipelines=[PIPELINE]))

    assert f'imaging_node_series_delivered_total{{modality="CT",pipeline="{PIPELINE}"}} 1.0' in text
    assert f'imaging_node_turnaround_seconds_bucket{{le="60.0",pipeline="{PIPELINE}"}} 0.0' in text
    assert f'imaging_node_turnaround_seconds_bucket{{le="120.0",pipeline="{PIPELINE}"}} 1.0' in text
    assert f'imaging_node_turnaround_seconds_bucket{{le="+Inf",pipeline="{PIPELINE}"}} 1.0' in text
    assert f'imaging_node_turnaround_seconds_sum{{pipeline="{PIPELINE}"}} 90.0' in text
    with records.read() as connection:
        assert connection.execute(select(JOBS.c.delivered_at)).scalar_one() == 90.0


def test_everything_has_a_first_value(records: Records, tmp_path: Path) -> None:
    text = page(records, tmp_path, Site(pipelines=[PIPELINE], destinations=["pacs"], parts=["worker"]))

    for line in (
        'series_received_total{modality="other"}',
        f'series_delivered_total{{modality="MR",pipeline="{PIPELINE}"}}',
        f'turnaround_seconds_count{{pipeline="{PIPELINE}"}}',
        f'jobs_stopped{{pipeline="{PIPELINE}",reason="engine_off",state="held"}}',
        f'queue_depth{{pipeline="{PIPELINE}",stage="infer"}}',
        'oldest_waiting_seconds{stage="assemble"}',
        'delivery_oldest_seconds{destination="pacs"}',
        'part_up{part="worker"}',
    ):
        assert f"\nimaging_node_{line} 0.0\n" in text


def test_stopped_jobs_are_told_by_why(records: Records) -> None:
    with records.write() as connection:
        connection.execute(SETS.insert(), [series(1), series(2), series(3)])
        connection.execute(JOBS.insert(), [job(1), job(2), job(3, state="failed")])
        connection.execute(DISPATCHES.insert(), [dispatch(2)])
        jobs.stop(connection, "job-1", state=JobState.HELD, cause="mean_shift", reason="2 HU", at=1.0)
        deliveries.end(connection, "job-2", "pacs", state=DispatchState.DEAD, cause=StopCause.REJECTED, at=2.0)
    with records.read() as connection:
        states, stopped = overview.jobs_by_pipeline(connection, [PIPELINE])

    assert {label: count for label, count in stopped.items() if count} == {
        ("held", "mean_shift", PIPELINE): 1.0,
        ("dead", "rejected", PIPELINE): 1.0,
        ("failed", "unknown", PIPELINE): 1.0,  # of a version that did not note it
    }
    assert states["delivering", PIPELINE] == 0.0


def test_modality_is_no_text_of_the_wire() -> None:
    assert modality_label({"CT"}) == "CT"
    assert [modality_label(found) for found in ({"CT", "MR"}, {'x"} 1\n'}, {"PATIENT^NAME"}, set(), {""})] == [
        "other"
    ] * 5


def test_what_waits_is_as_old_as_it_is(records: Records) -> None:
    with records.write() as connection:
        connection.execute(
            SETS.insert(), [series(1), series(2), {**series(3, at=9000.0), "state": "frozen", "urgent": 1}]
        )
        connection.execute(
            SERIES.insert().values(
                series_uid="1.9", study_uid="1", instances=2, frozen=1, first_at=1.0, last_at=NOW - 7
            )
        )
        connection.execute(
            JOBS.insert(),
            [job(1, state="running", stage="infer", updated_at=NOW - 50), job(2, state="held", stage="check")],
        )
        connection.execute(DISPATCHES.insert(), [dispatch(1, since=NOW - 30), dispatch(2, state="dead")])
    with records.read() as connection:
        assert {stage: age for stage, age in overview.waiting_s(connection, now=NOW).items() if age} == {
            "assemble": 7.0, "infer": 50.0, "route": 1000.0,
        }  # fmt: skip
        assert overview.undelivered_s(connection, ["pacs", "other"], now=NOW) == {"pacs": 30.0, "other": 0.0}
        assert overview.undelivered_s(connection, ["pacs"], now=NOW, paused={PIPELINE}) == {"pacs": 0.0}
        assert overview.untriaged_s(connection, [], now=NOW) == 1000.0
        assert overview.untriaged_s(connection, [PIPELINE], now=NOW) == NOW, "a job without a verdict, since its slices"
        assert overview.untriaged_s(connection, [], now=500.0) == 0.0, "a clock that was set back"


def test_what_a_former_version_made_is_counted_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(FORMER.read_text(encoding="utf-8"))
    migrate(tmp_path)
    with closing(Records(tmp_path)) as records, records.read() as connection:
        rows = connection.execute(select(JOBS, SETS.c.last_received_at).join(SETS, SETS.c.id == JOBS.c.set_id)).all()
        found, came = turnarounds.every(connection), overview.received(connection)
    made = [row for row in rows if row.state == "delivered"]

    assert rows
    assert [(row.modality, row.arrived_at) for row in rows] == [("CT", row.last_received_at) for row in rows]
    assert [row.delivered_at > row.arrived_at for row in made] == [True] * len(made)
    assert sum(sum(counts) for counts, _ in found.values()) == len(made)
    assert sum(seconds for _, seconds in found.values()) == pytest.approx(
        sum(row.delivered_at - row.arrived_at for row in made)
    )
    assert came["CT"] == len({row.set_id for row in rows})


def test_an_engine_is_ready_only_while_its_files_are_what_was_sealed(tmp_path: Path) -> None:
    spec = other_engine(tmp_path)
    files = EngineFiles({spec.name}, tmp_path)
    assert files.whole() == {spec.name: True}
    weights = weights_path(spec)
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + b"\0")
    assert files.whole() == {spec.name: False}
    weights.unlink()
    assert files.whole() == {spec.name: False}
    weights.write_bytes(data)
    assert files.whole() == {spec.name: True}


def test_a_worker_says_which_engine_is_off_or_away(records: Records, tmp_path: Path) -> None:
    site = Site(engines=["ct_denoise", "ct_kernel"], parts=["worker"])
    assert 'imaging_node_engine_ready{engine="ct_kernel"} 1.0' in page(records, tmp_path, site)
    signs.beat(tmp_path, "worker", **{signs.engine_off("ct_denoise"): 1, signs.engine_away("ct_kernel"): 1})
    text = page(records, tmp_path, site, now=time.time())

    assert 'imaging_node_engine_ready{engine="ct_denoise"} 0.0' in text
    assert 'imaging_node_engine_ready{engine="ct_kernel"} 0.0' in text
    assert 'imaging_node_engine_away{engine="ct_denoise"} 0.0' in text
    assert 'imaging_node_engine_away{engine="ct_kernel"} 1.0' in text
    assert 'imaging_node_part_up{part="worker"} 1.0' in text


def test_what_a_process_uses_is_what_the_kernel_says() -> None:
    found = usage(os.getpid())
    own = os.times()

    assert found.cpu_seconds == pytest.approx(sum(own[:4]), abs=0.5)
    assert found.resident_bytes > 10 << 20
    assert usage(2**22 + 1).resident_bytes == 0, "no such process"


def test_the_page_is_read_in_time_with_ten_thousand_series(records: Records, tmp_path: Path) -> None:
    many = range(10_000)
    with records.write() as connection:
        connection.execute(SETS.insert(), [series(number, at=float(number)) for number in many])
        connection.execute(JOBS.insert(), [job(number, state="delivered", delivered_at=1.0) for number in many])
        connection.execute(DISPATCHES.insert(), [dispatch(number, state="delivered") for number in many])
    spool = Spool(tmp_path, reserve_bytes=0)
    spool.prepare()
    levels = Levels(records, spool, tmp_path, Site(pipelines=[PIPELINE], destinations=["pacs"]))
    took = []
    for _ in range(5):
        began = time.perf_counter()
        exposition(tmp_path, levels.read())
        took.append(time.perf_counter() - began)

    assert min(took) < 0.1
