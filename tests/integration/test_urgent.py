"""A case for triage overtakes what waits before it, and changes when the others are made, not what is made of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import text

from node import lane
from node.child import Child
from node.worker import Worker
from node.worklist.standing import triage_is_up
from tests.peers import wait_until
from tests.running_node import settings_for, write_toml
from tests.site import Site, site
from tests.urgent_case import PIPELINES, ROUTINE, RULES, TRIAGE, install_engine, write_series

WAITING = 3  # routine series before the case
SLICES = 8
PATIENT = {"settle_s": 0.05, "quiet_s": 3600.0}  # a busy machine is silent for long
AS_OTHERS = ({"name": "all", "pipeline": ROUTINE},)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = install_engine(tmp_path_factory.mktemp("engines"))
    return {"folder": str(folder), "threads": 1, "eager": False}


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("series")
    routine = {f"routine {n}": write_series(folder / str(n), f"routine {n}", slices=SLICES) for n in range(WAITING)}
    return routine | {"head": write_series(folder / "head", "head", part="HEAD", slices=SLICES, hu=900.0)}


def node_at(folder: Path, engines: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> Any:
    return site(folder, rules=rules, engines=engines, assemble=PATIENT)


def received(node: Site, series: Mapping[str, Sequence[Path]]) -> None:
    """All that is routine is complete; of the head the association is open still."""
    for key, files in series.items():
        node.opened(key, calling_ae=key.upper())
        node.receive(files, key)
        if key != "head":
            node.closed(key)


def events(node: Site) -> Iterator[tuple[str, str, float]]:
    """(kind, what it happened to: a job's pipeline where it is one, when), in order."""
    with node.records.read() as connection:
        names = {row.id: row.pipeline for row in connection.execute(text("SELECT id, pipeline FROM jobs")).all()}
        for row in connection.execute(text("SELECT kind, subject, at FROM events ORDER BY id")).all():
            yield row.kind, names.get(row.subject, row.subject), row.at


def order(node: Site, kind: str) -> list[str]:
    return [subject for found, subject, _ in events(node) if found == kind]


def when(node: Site, kind: str, subject: str) -> float:
    (at,) = [at for found, other, at in events(node) if (found, other) == (kind, subject)]
    return at


def tick_until(worker: Worker, is_so: Callable[[], bool], what: str) -> None:
    def looked() -> bool:
        worker.tick()
        return is_so()

    wait_until(what, looked, timeout_s=240)


Ran = tuple[Site, list[float]]


def ran(
    folder: Path,
    engines: Mapping[str, Any],
    series: Mapping[str, Sequence[Path]],
    rules: Sequence[Mapping[str, Any]],
    *,
    triages: bool,
) -> Iterator[Ran]:
    """A node with a head that came last, when the first routine series was in the engine; times of all slices made."""
    made: list[float] = []
    with node_at(folder, engines, rules) as node:
        received(node, series)
        with Worker(node.settings, pipelines=PIPELINES, progress=lambda *_: made.append(time.time())) as worker:
            tick_until(worker, lambda: len(made) >= 2, "a routine series is in the engine")
            assert worker._triages() is triages
            node.closed("head")
            node.until_settled(worker, len(series))
        yield node, made


@pytest.fixture(scope="module")
def overtaken(
    tmp_path_factory: pytest.TempPathFactory, engines: Mapping[str, Any], series: Mapping[str, Sequence[Path]]
) -> Iterator[Ran]:
    """With a rule for triage."""
    yield from ran(tmp_path_factory.mktemp("overtaken"), engines, series, RULES, triages=True)


@pytest.fixture(scope="module")
def in_turn(
    tmp_path_factory: pytest.TempPathFactory, engines: Mapping[str, Any], series: Mapping[str, Sequence[Path]]
) -> Iterator[Ran]:
    """Without."""
    yield from ran(tmp_path_factory.mktemp("in-turn"), engines, series, AS_OTHERS, triages=False)


def test_the_case_is_derived_and_delivered_before_what_waits(overtaken: Ran) -> None:
    node, _ = overtaken
    assert {job["state"] for job in node.jobs()} == {"delivered"}
    for kind in ("derived", "delivered"):
        there = order(node, kind)
        assert len(there) == WAITING + 1
        assert there.index(TRIAGE) <= 2, f"only the two that were under way may be {kind} before it: {there}"
    with node.records.read() as connection:
        assert connection.execute(text("SELECT flag FROM triages")).scalars().all() == ["FLAG_RAISED"]
        urgent = connection.execute(text("SELECT urgent FROM sets ORDER BY urgent")).scalars().all()
    assert urgent == [0] * WAITING + [1]


def test_while_it_is_made_the_others_rest(overtaken: Ran) -> None:
    node, made = overtaken
    (head,) = [job for job in node.jobs() if job["pipeline"] == TRIAGE]
    begun, done = when(node, "queued", TRIAGE), when(node, "triaged", TRIAGE)
    beside = [at for at in made if begun < at < done]

    assert done - begun >= 0.9 * head["seconds"]["infer"], "the network did work in between"
    assert len(beside) <= SLICES + 1, "its own slices, and the one that was in the making"


def test_without_a_rule_for_triage_it_waits_for_its_turn(in_turn: Ran, series: Mapping[str, Sequence[Path]]) -> None:
    """The negative control: what is shown above is the lines' doing, not chance."""
    node, _ = in_turn
    header = pydicom.dcmread(series["head"][0], stop_before_pixels=True)
    (head,) = [job["id"] for job in node.jobs() if job["source_series_uid"] == str(header.SeriesInstanceUID)]
    with node.records.read() as connection:
        derived = connection.execute(text("SELECT subject FROM events WHERE kind = 'derived' ORDER BY id"))
        assert derived.scalars().all()[-1] == head
        assert connection.execute(text("SELECT max(urgent) FROM sets")).scalar_one() == 0


def test_what_was_interrupted_is_the_same_byte_for_byte(overtaken: Ran, in_turn: Ran) -> None:
    found, expected = (node.objects() for node, _ in (overtaken, in_turn))
    routine = {uid: one for uid, one in expected.items() if "'routine" in one["PatientID"]}

    assert len(routine) == WAITING * SLICES
    assert {uid: found[uid] for uid in routine} == routine


def test_a_worker_that_is_killed_while_the_case_is_made_keeps_the_order(
    engines: Mapping[str, Any], series: Mapping[str, Sequence[Path]], tmp_path: Path
) -> None:
    raw = settings_for(tmp_path, rules=RULES, engines=engines, assemble=PATIENT)
    file = write_toml(tmp_path / "node.toml", raw)

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "tests.urgent_case", str(file)], stdout=log, stderr=log)

    def stage(pipeline: str) -> set[str]:
        return {job["stage"] for job in node.jobs() if job["pipeline"] == pipeline}

    with node_at(tmp_path, engines, RULES) as node:
        received(node, series)
        process = start()
        try:
            wait_until("a routine series is in the engine", lambda: "infer" in stage(ROUTINE), timeout_s=240)
            assert triage_is_up(node.settings)
            node.closed("head")
            wait_until("the case is in the engine", lambda: "infer" in stage(TRIAGE), timeout_s=240, every_s=0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not triage_is_up(node.settings)
            assert "triaged" not in {kind for kind, _, _ in events(node)}
            derived_before = len(order(node, "derived"))
            process = start()
            wait_until("all is made", lambda: len(order(node, "derived")) == len(series), timeout_s=240)
        finally:
            process.kill()
            process.wait()
        assert order(node, "derived").index(TRIAGE) <= derived_before + 1
        assert len(order(node, "triaged")) == 1


def test_the_urgent_lane_has_a_child_of_its_own_and_the_other_stands_back() -> None:
    urgent = Child(memory_mb=4096, seconds=60.0)
    routine = Child(memory_mb=4096, seconds=60.0, nice=10, urgent=urgent)
    try:
        routine.warm()
        assert urgent._process is None
        with lane.urgently():
            routine.warm("node.dicom.scan")
        assert urgent._process is not None
        assert routine._process is not None
        assert urgent._process.pid != routine._process.pid
        nices = [os.getpriority(os.PRIO_PROCESS, one._process.pid) for one in (urgent, routine)]
        assert nices[1] - nices[0] == 10
    finally:
        routine.close()
        urgent.close()
