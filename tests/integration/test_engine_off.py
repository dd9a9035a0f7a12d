"""The known answers at start: an engine that misses them makes nothing, says so everywhere, and the rest goes on."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines.parity import Case, packed, recorded_cases
from engines.store import seal, weights_path
from node import app
from node.commands import look
from node.commands.run import faults
from node.demo.phantom import make_series
from node.dicom.part10 import split
from node.errors import BadSetting
from node.metrics import METRICS
from node.records import instances
from node.records.database import Records
from node.records.states import Ending
from node.settings import Settings, parse
from node.stages.receive import Arrival
from node.worker import Worker
from tests.other_engine import other_engine
from tests.peers import wait_until
from tests.running_node import RunningNode, cli, settings_for, write_toml


def spoiled(folder: Path) -> Path:
    """The shipped network whose recorded answers are one HU off: as if the library computed wrongly."""
    spec = other_engine(folder)
    cases = [
        Case(name=c.name, feeds=c.feeds, expected={name: made + 1.0 for name, made in c.expected.items()})
        for c in recorded_cases(spec)
    ]
    (folder / "cases" / "ct_denoise.npz").write_bytes(packed(cases))
    seal(folder, ["cases/ct_denoise.npz"])
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    return {**settings_for(tmp_path), "engines": {"folder": str(spoiled(tmp_path / "engines"))}}


def receive(settings: Settings, records: Records, files: list[Path]) -> None:
    """Store files as the receiver does."""
    with records.write() as connection:
        instances.open_association(connection, key="a", calling_ae="OTHER", receiver="test", at=time.time())
    child = app.decoder_of(settings)
    with closing(child), closing(app.intake_of(settings, records, app.spool_of(settings), child)) as intake:
        for path in files:
            meta, data = split(path)
            intake.store(
                Arrival(
                    sop_class_uid=meta.sop_class_uid,
                    sop_instance_uid=meta.sop_instance_uid,
                    transfer_syntax=meta.transfer_syntax,
                    data_set=data,
                    association="a",
                    calling_ae="OTHER",
                )
            )
    with records.write() as connection:
        instances.close_association(connection, key="a", at=time.time(), ending=Ending.RELEASED)


def test_a_series_for_an_engine_that_is_off_is_held_with_the_figures(raw: dict[str, Any], tmp_path: Path) -> None:
    settings = parse(raw, source="the test")
    app.prepare_state(settings)
    failed = METRICS.engine_checks_failed.labels(engine="ct_denoise")
    before = failed._value.get()
    with closing(Records(settings.node.state)) as records:
        receive(settings, records, make_series(tmp_path / "scan", slices=4))
        with Worker(settings) as worker:
            assert list(worker.inference.off) == ["ct_denoise"]
            assert failed._value.get() == before + 1

            def held() -> bool:
                worker.tick(everything_is_here=True)
                (series,) = look.listing(records, limit=1) or [{"state": ""}]
                return bool(series["state"] == "held")

            wait_until("the job is held", held, timeout_s=60)
        (job,) = look.listing(records, limit=1)
    assert "does not give what was recorded: phantom-0, denoised: 1 (at most 0.5)" in job["reason"]
    assert "replay" in job["reason"]


def test_a_network_that_changes_while_the_node_runs_ends_the_worker(tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    spec = other_engine(engines)
    settings = parse({**settings_for(tmp_path), "engines": {"folder": str(engines)}}, source="the test")
    app.prepare_state(settings)
    with Worker(settings) as worker:
        assert worker.inference.off == {}
        worker._known_answers_at = 0.0
        worker.tick()
        weights_path(spec).write_bytes(b"changed")
        worker._known_answers_at = 0.0
        with pytest.raises(BadSetting, match=r"weights/ct_denoise.onnx .*: sha256 is"):
            worker.tick()


def test_check_readiness_and_metrics_say_that_an_engine_is_off(raw: dict[str, Any], tmp_path: Path) -> None:
    status, said, _ = cli("check", "-c", write_toml(tmp_path / "node.toml", raw))
    assert status == 1
    assert "phantom-0, denoised: 1 (at most 0.5)" in said

    with RunningNode(tmp_path, raw) as node:
        settings = parse(raw, source="the test")
        wait_until("the worker says so", lambda: "engines" in faults(settings), timeout_s=30)
        assert faults(settings)["engines"] == "1 off: they missed their recorded cases"
        assert 'imaging_node_engine_checks_failed_total{engine="ct_denoise"} 1.0' in node.metrics()
