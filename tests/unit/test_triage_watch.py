"""Drift of triage from the records: to the page, the log and the command."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from sqlalchemy import update
from structlog.testing import capture_logs
from typer.testing import CliRunner

from node.__main__ import app
from node.metrics import METRICS, exposition
from node.page.worklist import levels
from node.records.database import Records
from node.records.tables import JOBS, SETS
from node.records.triage_history import history
from node.records.worklist_tables import NOTICES, TRIAGES
from node.settings.scanners import Scanner
from node.worklist import watch
from tests.verdicts import add_verdict, new_records, verdict

CT1 = Scanner.model_validate({"name": "ct-1", "where": {"StationName": "CT1"}})

_SET: dict[str, Any] = {
    "version": 1, "state": "routed", "evidence": "", "reasons": {}, "last_received_at": 990.0, "frozen_at": 991.0,
}  # fmt: skip
_JOB: dict[str, Any] = {
    "rule": "triage", "pipeline": "head-ct-triage", "pipeline_version": "1", "engine_sha256": "", "destinations": [],
    "state": "delivered", "stage": "deliver", "started_at": 992.0, "updated_at": 993.0, "seconds": {},
}  # fmt: skip


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path / "state")) as opened:
        yield opened


def fill(records: Records, scanner: str, count: int, *, seed: int, rate: float = 0.2, start: float = 1000.0) -> None:
    """Verdicts, one a minute."""
    rng = np.random.default_rng(seed)
    names = [f"{scanner}-{seed}-{number:03}" for number in range(count)]
    rows = [
        verdict(
            name,
            "FLAG_RAISED" if u > 1 - rate else "FLAG_NOT_RAISED",
            scanner=scanner,
            percentile=u,
            decided_at=start + 60 * number,
        )
        for number, (name, u) in enumerate(zip(names, rng.random(count).tolist(), strict=True))
    ]
    with records.write() as connection:
        sets = [{**_SET, "id": f"set-{name}", "series_uid": name} for name in names]
        connection.execute(SETS.insert(), sets)
        connection.execute(JOBS.insert(), [{**_JOB, "id": name, "set_id": f"set-{name}"} for name in names])
        connection.execute(TRIAGES.insert(), rows)


def gauges(records: Records) -> dict[str, dict[object, float]]:
    with records.read() as connection:
        return {level.name: dict(level.values) for level in levels(connection, (CT1,))}


def test_each_scanner_is_compared_with_its_own_first_studies(records: Records) -> None:
    fill(records, "ct-1", 200, seed=1)
    fill(records, "ct-1", 150, seed=2, rate=0.5, start=50_000.0)
    fill(records, "other", 10, seed=3)
    found = gauges(records)

    assert found["triage_window_studies"] == {"ct-1": 200.0, "other": 10.0}
    assert found["triage_alarm_cusum"]["ct-1"] > found["triage_alarm_cusum_limit"]["ct-1"]
    assert found["triage_drift_warnings"] == {"ct-1": 1.0, "other": 0.0}
    assert "other" not in found["triage_alarm_cusum"], "ten studies are nothing to compare with"
    assert found["triage_calibration_drift"].keys() == found["triage_score_psi"].keys() == {"ct-1"}


def test_a_scanner_without_a_table_has_no_label(records: Records) -> None:
    """A name that left the settings must not come back as a label."""
    fill(records, "retired", 5, seed=1)
    assert gauges(records)["triage_window_studies"] == {"ct-1": 0.0, "other": 0.0}


def test_another_network_or_threshold_begins_anew(records: Records) -> None:
    fill(records, "ct-1", 250, seed=1)
    with records.write() as connection:
        connection.execute(update(JOBS).values(engine_sha256="before"))
    fill(records, "ct-1", 5, seed=2, start=90_000.0)
    with records.read() as connection:
        first, newer = history(connection, "ct-1", baseline=200)
    assert (len(first), len(newer)) == (5, 0)

    with records.write() as connection:
        add_verdict(connection, "last", scanner="ct-1", threshold=0.7, score=0.9, decided_at=99_000.0)
    with records.read() as connection:
        assert len(history(connection, "ct-1", baseline=200)[0]) == 1


def test_history_is_in_order_and_leaves_out_what_was_withdrawn(records: Records) -> None:
    with records.write() as connection:
        for number, (flag, at) in enumerate(
            [("FLAG_RAISED", 30.0), ("NOT_ANALYSABLE", 10.0), ("FLAG_NOT_RAISED", 20.0)]
        ):
            add_verdict(connection, f"j{number}", flag, decided_at=at, percentile={10.0: None}.get(at, at / 100))
        add_verdict(connection, "gone", decided_at=25.0)
        connection.execute(update(TRIAGES).where(TRIAGES.c.job_id == "gone").values(withdrawn_at=40.0))
        first, newer = history(connection, "other", baseline=1)

    assert [tuple(row[:2]) for row in first] == [("NOT_ANALYSABLE", None), ("FLAG_NOT_RAISED", 0.2)]
    assert [tuple(row[:2]) for row in newer] == [("FLAG_RAISED", 0.3)]


def test_the_verdict_that_crosses_is_the_one_that_warns_and_none_after_it(records: Records) -> None:
    scanner = CT1.model_copy(update={"alarm_rate": 0.2})
    structlog.reset_defaults()
    with capture_logs() as said, records.write() as connection:
        warned = [
            watch.decided(
                connection,
                add_verdict(connection, f"j{number}", scanner="ct-1", decided_at=1000.0 + number),
                (scanner,),
            )
            for number in range(20)
        ]

    assert sum(warned) == 1
    assert warned.index(True) == 11, "12 flags in a row: 12 ln 2 is the first to exceed ln 4000"
    (line,) = [one for one in said if one["event"] == "triage drifts"]
    assert (line["log_level"], line["scanner"]) == ("warning", "ct-1")


def test_a_verdict_is_counted_with_the_time_that_it_took(records: Records) -> None:
    def seconds() -> float:
        (family,) = METRICS.triage_arrival_to_flag.collect()
        return sum(s.value for s in family.samples if s.name.endswith("_sum") and s.labels["scanner"] == "ct-1")

    before = seconds()
    with records.write() as connection:
        watch.decided(
            connection, add_verdict(connection, "a", scanner="ct-1", arrived_at=990.0, decided_at=1002.5), (CT1,)
        )
        watch.decided(
            connection, add_verdict(connection, "b", scanner="ct-1", arrived_at=990.0, decided_at=980.0), (CT1,)
        )

    assert seconds() - before == pytest.approx(12.5), "a clock that was set back counts as 0"


def test_the_command_says_what_drifts_and_ends_with_1(records: Records, tmp_path: Path) -> None:
    fill(records, "ct-1", 200, seed=1)
    settings = tmp_path / "node.toml"
    settings.write_text(
        f"""
        [node]
        state = "{tmp_path / "state"}"
        [receiver]
        ae_title = "NODE"
        [[destinations]]
        kind = "folder"
        name = "out"
        path = "{tmp_path / "out"}"
        [[rules]]
        name = "ct"
        pipeline = "ct-denoise"
        destinations = ["out"]
        [[worklist.scanners]]
        name = "ct-1"
        where = {{ StationName = "CT1" }}
        """
    )
    quiet = CliRunner().invoke(app, ["drift", "-c", str(settings)])
    fill(records, "ct-1", 150, seed=2, rate=0.5, start=50_000.0)
    loud = CliRunner().invoke(app, ["drift", "-c", str(settings), "--json"])
    text = CliRunner().invoke(app, ["drift", "-c", str(settings)])

    assert quiet.exit_code == 0, quiet.output
    assert loud.exit_code == text.exit_code == 1
    found = json.loads(loud.stdout)["scanners"]
    assert found["ct-1"]["warnings"] == [
        line.partition(": ")[2] for line in text.output.splitlines() if "flags" in line
    ]
    assert found["other"]["studies"] == 0


def test_the_page_shows_notices_by_channel_and_state(records: Records, tmp_path: Path) -> None:
    with records.write() as connection:
        add_verdict(connection, "a", scanner="ct-1")
        connection.execute(
            NOTICES.insert().values(
                job_id="a", kind="flag", channel="ris", way="hl7", control_id="1", state="waiting", since=1.0,
                next_at=1.0, updated_at=1.0, alarmed_at=61.0, body={},
            )
        )  # fmt: skip
    with records.read() as connection:
        page = exposition(tmp_path, levels(connection, (CT1,))).decode()

    assert 'imaging_node_notices{channel="ris",state="waiting"} 1.0' in page
    assert 'imaging_node_notice_alarm{channel="ris"} 1.0' in page
    assert 'imaging_node_triage_alarm_rate{scanner="ct-1"} 1.0' in page
