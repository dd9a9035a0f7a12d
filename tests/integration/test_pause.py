"""A paused pipeline makes and sends nothing; what came meanwhile is there when it is resumed, and goes once."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import Connection, update
from typer.testing import CliRunner

from node import app as building
from node.__main__ import app
from node.commands import decide, look, pausing
from node.commands.check import check
from node.demo.phantom import make_series
from node.errors import BadSetting
from node.records import deliveries, pauses, triages
from node.records.database import Records
from node.records.tables import DISPATCHES, JOBS, SETS
from node.settings import Settings, parse
from node.worker import Worker
from node.worklist.standing import triage_is_up
from tests.delivering import JOB, NAME, Scp, Sending, finish_job
from tests.integration.test_faults import job_state, receive, until
from tests.running_node import settings_for, write_toml
from tests.site import Site, site
from tests.urgent_case import PIPELINES, ROUTINE, RULES, TRIAGE, install_engine, write_series

PIPELINE = "ct-denoise"
WHO = {"by": "N. Ight", "why": "stripes in the images"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = parse(settings_for(tmp_path), source="the test")
    building.prepare_state(made)
    return made


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    with closing(Records(settings.node.state)) as opened:
        yield opened


def test_what_comes_during_a_pause_waits_over_a_restart_and_leaves_once_when_it_is_resumed(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path))
    said = CliRunner().invoke(app, ["pause", "-c", str(file), PIPELINE, "--by", WHO["by"], "--reason", WHO["why"]])
    assert said.exit_code == 0, said.output
    assert "Paused: ct-denoise since" in said.output
    assert [(line.what, line.good, line.text) for line in check(file, local=True) if "pipeline" in line.what] == [
        (
            "pipeline ct-denoise",
            None,
            "paused by N. Ight: stripes in the images; it goes on after `imaging-node resume`",
        )
    ]
    series = receive(settings, records, make_series(tmp_path / "scan", slices=4))

    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "paused", lambda: job_state(records, series) == "paused")
        for _ in range(10):
            worker.tick()
    assert delivered(tmp_path) == []
    assert pausing.standing(records)["pipelines"][0]["waiting"] == 1

    with Worker(settings) as worker:  # a restart changes nothing
        for _ in range(10):
            worker.tick()
        assert job_state(records, series) == "paused"
        said = CliRunner().invoke(app, ["resume", "-c", str(file), "--all", "--by", WHO["by"], "--reason", "mended"])
        assert said.exit_code == 0, said.output
        until(worker, "delivered", lambda: job_state(records, series) == "delivered")

    assert len(delivered(tmp_path)) == 4
    (job,) = look.show(records, series)["sets"][0]["jobs"]
    assert [event["kind"] for event in job["events"]] == ["queued", "paused", "derived", "delivered"]


def delivered(tmp_path: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in (tmp_path / "delivered").rglob("*.dcm")]


def test_a_paused_triage_is_down_says_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    engines = {"folder": str(install_engine(tmp_path / "engines", layers=1, channels=2)), "threads": 1}
    head = write_series(tmp_path / "head", "head", part="HEAD", hu=900.0)
    with site(tmp_path, rules=RULES, engines=engines) as node:
        for key, files in (("head", head), ("other", write_series(tmp_path / "other", "other"))):
            node.opened(key)
            node.receive(files, key)
            node.closed(key)

        def states() -> dict[str, str]:
            return {job["pipeline"]: job["state"] for job in node.jobs()}

        pausing.pause(node.records, {TRIAGE}, {TRIAGE}, **WHO)
        with Worker(node.settings, pipelines=PIPELINES) as worker:
            until(worker, "both are where they stay", lambda: states() == {TRIAGE: "paused", ROUTINE: "delivered"})
            until(worker, "the list goes by arrival", lambda: not triage_is_up(node.settings))
            assert verdicts(node) == []
        with Worker(node.settings, pipelines=PIPELINES) as worker:  # which does not wait for the paused case either
            pausing.resume(node.records, (), **WHO)
            until(worker, "the verdict is there", lambda: states()[TRIAGE] == "delivered")
            until(worker, "the list goes by scores", lambda: triage_is_up(node.settings))
        assert verdicts(node) == ["FLAG_RAISED"]


def verdicts(node: Site) -> list[str]:
    with node.records.read() as connection:
        return [row["flag"] for row in triages.newest(connection, limit=10)]


def test_a_result_that_is_ready_stays_until_its_pipeline_is_resumed(tmp_path: Path) -> None:
    finish_job(tmp_path, make_series(tmp_path / "made", slices=3), destinations=[NAME])
    with Scp(tmp_path / "archive") as archive, Sending(tmp_path, archive.port) as sending:
        with sending.records.write() as connection:
            connection.execute(update(DISPATCHES).values(since=1.0))
            pauses.pause(connection, "p", at=time.time(), **WHO)

        waiting = sending.attempt()

        assert waiting.pause_s is not None
        assert 20.0 < waiting.pause_s < 40.0
        assert archive.kept() == {}
        with sending.records.write() as connection:
            assert len(deliveries.unconfirmed(connection, JOB, NAME)) == 3
            pauses.resume(connection, "p", at=time.time(), **WHO)
        assert sending.dispatch()["since"] > 1.0, "the hours of a pause do not count for giving up"
        assert sending.attempt().pause_s is None
        assert len(archive.kept()) == 3
        assert sending.job()["state"] == "delivered"


def test_a_job_that_was_paused_again_meanwhile_keeps_waiting(settings: Settings, records: Records) -> None:
    with records.write() as connection:
        _paused_job(connection, at=5.0)
        assert pauses.to_go_on(connection) == [("j", 0, 5.0)]
        connection.execute(update(JOBS).values(updated_at=6.0))
        pauses.gone_on(connection, "j", paused_at=5.0, at=7.0)
        assert pauses.to_go_on(connection) == [("j", 0, 6.0)]
        pauses.gone_on(connection, "j", paused_at=6.0, at=7.0)
        assert pauses.to_go_on(connection) == []


def _paused_job(connection: Connection, *, at: float) -> None:
    row = {
        "id": "j", "set_id": "s", "rule": "r", "pipeline": PIPELINE, "pipeline_version": "1", "engine_sha256": "e",
        "destinations": [], "state": "paused", "stage": "route", "started_at": at, "updated_at": at, "seconds": {},
    }  # fmt: skip
    made = {"series_uid": "1.2", "version": 1, "evidence": "", "reasons": {}, "last_received_at": at, "frozen_at": at}
    connection.execute(SETS.insert().values(id="s", state="routed", **made))
    connection.execute(JOBS.insert().values(row))


def test_each_pause_stands_until_its_own_end(records: Records) -> None:
    names = {"ct-denoise", "ct-kernel"}
    pausing.pause(records, names, names, **WHO)
    pausing.pause(records, {"ct-kernel"}, names, by="another", why="the same")
    found = pausing.resume(records, {"ct-denoise"}, by=WHO["by"], why="mended")

    assert [(one["pipeline"], one["by"]) for one in found["pipelines"]] == [("ct-kernel", WHO["by"])]
    with records.read() as connection:
        assert [pauses.is_paused(connection, name) for name in ("ct-denoise", "ct-kernel", "ct")] == [
            False,
            True,
            False,
        ]
    with pytest.raises(BadSetting, match="ct-denoise is not paused"):
        pausing.resume(records, {"ct-denoise"}, **WHO)
    with pytest.raises(BadSetting, match="No rule names the pipeline 'ct-denoize'"):
        pausing.pause(records, {"ct-denoize"}, names, **WHO)
    with pytest.raises(BadSetting, match="--by needs"):
        pausing.pause(records, {"ct-denoise"}, names, by="", why="x")


def test_a_paused_job_can_be_ended_for_good(settings: Settings, records: Records) -> None:
    with records.write() as connection:
        _paused_job(connection, at=5.0)
        connection.exec_driver_sql("UPDATE jobs SET id = 'abcdef0123'")

    decide.discard(records, "abcdef0123", by="A", why="not wanted")

    with records.read() as connection:
        assert pauses.to_go_on(connection) == []
