"""A pipeline of two series, end to end: in whatever order, a study's series meet; one that never comes has its rule."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from node.errors import BadSetting
from node.worker import Worker
from tests.peers import dcmsend
from tests.running_node import AE_TITLE
from tests.two_series import PIPELINES, StudyNode, write_series

WAIT_S = 4.0


def rule(name: str, pipeline: str = "mean-of-two", **values: Any) -> dict[str, Any]:
    where = {"ProtocolName": name.upper()}
    return {"name": name, "pipeline": pipeline, "wait_s": WAIT_S, "where": where, **values}


PATIENT = 3600.0  # longer than any test, on however slow a machine


RULES = (
    rule("meet", wait_s=PATIENT),
    rule("hold"),
    rule("proceed", "mean-if-two", missing="proceed"),
    rule("drop", missing="drop"),
    rule("newest", wait_s=PATIENT, roles={"early": {"prefer": "newest"}}),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyNode]:
    folder = tmp_path_factory.mktemp("study")
    with StudyNode(folder, RULES, assemble={"settle_s": 0.2, "quiet_s": 2.0}) as running:
        yield running


def send(node: StudyNode, files: list[Path]) -> str:
    (sent,) = dcmsend(node.port, files, called=AE_TITLE)
    assert sent.stored == len(files), sent.output
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def study_of(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def made(node: StudyNode, job: dict[str, Any]) -> list[pydicom.Dataset]:
    """The derived images of a delivered job, in order."""
    found = [pydicom.dcmread(path) for path in node.delivered.rglob("*.dcm")]
    mine = [ds for ds in found if ds.SeriesInstanceUID == job["series_uid"]]
    return sorted(mine, key=lambda ds: int(ds.InstanceNumber))


def hu(images: list[pydicom.Dataset]) -> list[float]:
    return [float(np.mean(ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept))) for ds in images]


@pytest.mark.parametrize("order", [("early", "late"), ("late", "early")])
def test_two_series_meet_in_whatever_order_they_come(node: StudyNode, tmp_path: Path, order: tuple[str, str]) -> None:
    study = f"order {order}"
    values = {"early": 100.0, "late": 300.0}
    hours = {"early": 9, "late": 10}
    for role in order:
        files = write_series(
            tmp_path / role, study=study, role=role, hu=values[role], hour=hours[role], protocol="MEET"
        )
        uid = send(node, files)
        if role == order[0]:
            waiting = node.wait_for(uid, "waiting")
            other = order[1]
            assert f"no series for {other}; waits until" in waiting["reason"]

    found = node.wait_for(uid, "made")
    job = node.wait_delivered(found["job"])
    images = made(node, job)
    assert hu(images) == [pytest.approx(200.0 + 10 * n, abs=0.6) for n in range(5)]
    assert images[0].SeriesDescription == "AI MEAN - TEST EARLY"
    assert [len(one.ReferencedInstanceSequence) for one in images[0].ReferencedSeriesSequence] == [5, 5]
    shown = next(one for one in node.show(uid)["series"] if one["sets"][0]["jobs"])["sets"][0]["jobs"][0]
    assert set(shown["roles"]) == {"early", "late"}


def test_a_series_that_never_comes_is_held_and_a_late_one_ends_the_hold(node: StudyNode, tmp_path: Path) -> None:
    uid = send(node, write_series(tmp_path / "early", study="held", role="early", hu=0.0))

    held = node.wait_for(uid, "held")
    assert held["reason"] == f"no series for late came within {WAIT_S:g} s"
    assert held["job"] is None

    send(node, write_series(tmp_path / "late", study="held", role="late", hu=50.0, hour=10))
    assert node.wait_delivered(node.wait_for(uid, "made")["job"])["state"] == "delivered"


def test_a_series_that_never_comes_is_done_without_and_a_late_one_makes_another(
    node: StudyNode, tmp_path: Path
) -> None:
    uid = send(node, write_series(tmp_path / "early", study="without", role="early", hu=40.0, protocol="PROCEED"))

    without = node.wait_for(uid, "made")
    assert "made without" in without["reason"]
    first = node.wait_delivered(without["job"])
    assert hu(made(node, first)) == [pytest.approx(40.0 + 10 * n, abs=0.6) for n in range(5)]

    late = write_series(tmp_path / "late", study="without", role="late", hu=80.0, hour=10, protocol="PROCEED")
    send(node, late)
    second = node.wait_delivered(_other(node, uid, first["id"]))
    assert second["series_uid"] != first["series_uid"]
    assert hu(made(node, second)) == [pytest.approx(60.0 + 10 * n, abs=0.6) for n in range(5)]
    events = [e for s in node.show(uid)["series"] for v in s["sets"] for j in v["jobs"] for e in j["events"]
              if j["id"] == first["id"]]  # fmt: skip
    superseded = [event["detail"]["by"] for event in events if event["kind"] == "superseded"]
    assert set(superseded) == {second["id"]}


def _other(node: StudyNode, uid: str, known: str) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = node.gathering(uid)
        if found["job"] != known and found["state"] == "made":
            return str(found["job"])
        time.sleep(0.1)
    raise AssertionError(node.tail())


def test_a_series_that_never_comes_can_drop_the_study(node: StudyNode, tmp_path: Path) -> None:
    uid = send(node, write_series(tmp_path / "early", study="dropped", role="early", hu=0.0, protocol="DROP"))

    assert node.wait_for(uid, "dropped")["job"] is None


def test_two_patients_in_one_study_are_refused(node: StudyNode, tmp_path: Path) -> None:
    send(node, write_series(tmp_path / "early", study="mixed", protocol="MEET", role="early", hu=0.0))
    uid = send(
        node, write_series(tmp_path / "late", study="mixed", protocol="MEET", role="late", hu=0.0, patient="SOMEBODY")
    )

    refused = node.wait_for(uid, "refused")
    assert refused["reason"] == "the series of the study name 2 different patients"
    assert refused["job"] is None


def test_two_series_for_one_role_are_held_with_both_named(node: StudyNode, tmp_path: Path) -> None:
    files = [
        write_series(tmp_path / key, study="twice", protocol="MEET", role=role, hu=0.0, key=key, hour=hour)
        for key, role, hour in (("a", "early", 9), ("b", "early", 10), ("c", "late", 11))
    ]
    uid = send(node, [path for one in files for path in one])

    held = node.wait_for(uid, "held")
    names = [str(pydicom.dcmread(one[0]).SeriesInstanceUID) for one in files]
    assert "2 series fit the role early" in held["reason"]
    assert all(name in held["reason"] for name in names[:2])


def test_a_rule_may_prefer_the_newest_whatever_came_last(node: StudyNode, tmp_path: Path) -> None:
    for key, role, value, hour in (("b", "early", 100.0, 10), ("a", "early", 0.0, 9), ("c", "late", 100.0, 11)):
        folder = tmp_path / key
        uid = send(
            node,
            write_series(folder, study="newest", role=role, hu=value, key=key, hour=hour, protocol="NEWEST"),
        )

    job = node.wait_delivered(node.wait_for(uid, "made")["job"])
    assert hu(made(node, job))[0] == pytest.approx(100.0, abs=0.6)


def test_a_killed_worker_goes_on_waiting_and_then_makes_it(node: StudyNode, tmp_path: Path) -> None:
    uid = send(node, write_series(tmp_path / "early", study="killed", protocol="MEET", role="early", hu=0.0))
    node.wait_for(uid, "waiting")
    node.stop("worker", kill=True)
    send(node, write_series(tmp_path / "late", study="killed", protocol="MEET", role="late", hu=20.0, hour=10))
    node.start("worker")

    job = node.wait_delivered(node.wait_for(uid, "made")["job"])
    assert hu(made(node, job))[0] == pytest.approx(10.0, abs=0.6)


def test_series_of_two_grids_are_refused_by_a_pipeline_that_registers_nothing(node: StudyNode, tmp_path: Path) -> None:
    send(node, write_series(tmp_path / "early", study="grids", protocol="MEET", role="early", hu=0.0))
    late = write_series(tmp_path / "late", study="grids", protocol="MEET", role="late", hu=0.0, hour=10, first_z_mm=1.0)
    uid = send(node, late)

    job = node.wait_for(uid, "made")["job"]
    until = time.monotonic() + 30
    while node.job(job)["state"] not in ("refused", "failed", "delivered") and time.monotonic() < until:
        time.sleep(0.1)
    assert node.job(job)["state"] == "refused"
    assert "does not lie on the grid" in node.job(job)["reason"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"roles": {"later": {}}}, "mean-of-two has no role 'later'; it has early, late"),
        ({"missing": "proceed"}, "missing is proceed, but mean-of-two needs every series"),
    ],
)
def test_a_rule_that_cannot_be_stops_the_start(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    study_node = StudyNode(tmp_path, (rule("hold", **changed),))

    with pytest.raises(BadSetting, match=said), Worker(study_node.settings, pipelines=PIPELINES):
        pass
