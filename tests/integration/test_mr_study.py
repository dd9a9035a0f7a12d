"""T1, T2 and FLAIR of one head, as a study sends them: whatever order and grids they have, one job on the T1's slices.

The real series of ../shared, written as DICOM series of other spacing and orientation; the network is a tiny one.
"""

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pipelines.volume import Volume
from tests.mr_series import STROKE, TUMOUR, Scanned, middle_of, motion, real, seen, write_mr_series
from tests.peers import dcmsend, wait_until
from tests.running_node import AE_TITLE
from tests.three_series import HeadNode

STILL = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
MOVED = ((6.0, -4.0, 8.0), (4.0, -3.0, 5.0))
GRIDS = {"t1": ((3.0, 1.0, 1.0), "axial"), "t2": ((5.0, 0.9, 0.9), "axial"), "flair": ((4.0, 0.8, 0.8), "coronal")}
LONG = 3600.0  # longer than any test, on however slow a machine
SOON = 4.0


def rule(name: str, **values: Any) -> dict[str, Any]:
    where = {"StudyDescription": name.upper()}
    return {"name": name, "pipeline": "mixed-mr", "wait_s": LONG, "where": where, **values}


RULES = (
    rule("meet"),
    rule("without", wait_s=SOON, missing="proceed"),
    rule("hold", wait_s=SOON),
    rule("drop", wait_s=SOON, missing="drop"),
    rule("newest", roles={"t1": {"prefer": "newest"}}),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    real(STROKE, "t1")
    folder = tmp_path_factory.mktemp("mr-study")
    with HeadNode(folder, RULES, assemble={"settle_s": 0.2, "quiet_s": 2.0}) as running:
        yield running


def series(role: str, moved: Any = STILL, *, case: str = STROKE, grid: Any = None) -> Volume:
    """A series of the head after it moved."""
    head = real(case, "t1")
    spacing, plane = grid or GRIDS[role]
    return seen(real(case, role), motion(*moved, middle_of(head)), spacing, plane)


def write(
    folder: Path, study: str, role: str, volume: Volume, *, protocol: str, hour: int = 9, **values: Any
) -> list[Path]:
    minutes = {"t1": 10, "t2": 20, "flair": 30}[role]
    scanned = Scanned(
        key=f"{study}/{role}/{hour}/{values.get('patient', '')}",
        study=study,
        role=role,
        started=dt.datetime(2026, 1, 5, hour, minutes),  # noqa: DTZ001 - DICOM times are local to the scanner
        series_number=hour * 10 + list(GRIDS).index(role),
        elements={"StudyDescription": protocol, **values.pop("elements", {})},
        **values,
    )
    return write_mr_series(folder / f"{role}-{hour}-{values.get('patient', '')}", volume, scanned)


def send(node: HeadNode, files: list[Path]) -> str:
    (sent,) = dcmsend(node.port, files, called=AE_TITLE)
    assert sent.stored == len(files), sent.output
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def made(node: HeadNode, job: dict[str, Any]) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(path) for path in node.delivered.rglob("*.dcm")]
    mine = [ds for ds in found if ds.SeriesInstanceUID == job["series_uid"]]
    return sorted(mine, key=lambda ds: int(ds.InstanceNumber))


def registrations(node: HeadNode, study: str) -> dict[str, dict[str, Any]]:
    """Role -> the figures that `show` has of its registration."""
    jobs = [job for one in node.show(study)["series"] for version in one["sets"] for job in version["jobs"]]
    told = [event["detail"] for job in jobs for event in job["events"] if event["kind"] == "registered"]
    return {one["role"]: one for one in told}


def ended(node: HeadNode, job: str, *states: str) -> dict[str, Any]:
    until = time.monotonic() + 500
    while (found := node.job(job))["state"] not in states:
        assert time.monotonic() < until, (found["state"], found["reason"], node.tail())
        time.sleep(0.2)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("order", [("flair", "t1", "t2"), ("t1", "t2", "flair")])
def test_three_series_of_three_grids_become_one_on_the_slices_of_t1(
    node: HeadNode, tmp_path: Path, order: tuple[str, ...]
) -> None:
    study = f"order {order}"
    volumes = {"t1": series("t1"), "t2": series("t2", MOVED), "flair": series("flair")}
    sources = {}
    for number, role in enumerate(order):
        sources[role] = write(tmp_path, study, role, volumes[role], protocol="MEET")
        uid = send(node, sources[role])
        if number < 2:
            waiting = node.wait_for(uid, "waiting", timeout_s=120)
            assert waiting["job"] is None
            time.sleep(1.0)  # the scanner goes on with something else

    gathered = node.wait_for(uid, "made", timeout_s=120)
    images = made(node, ended(node, gathered["job"], "delivered"))

    t1 = [pydicom.dcmread(path) for path in sources["t1"]]
    assert [one.ImagePositionPatient for one in images] == [one.ImagePositionPatient for one in t1]
    assert {one.FrameOfReferenceUID for one in images} == {t1[0].FrameOfReferenceUID}
    figures = registrations(node, uid)
    assert figures["t2"]["shift_mm"] == pytest.approx(float(np.linalg.norm(MOVED[0])), abs=1.5)
    assert figures["flair"]["shift_mm"] < 1.0
    assert min(one["quality"] for one in figures.values()) > 0.45
    middle = images[len(images) // 2]
    named = [item.ReferencedSOPInstanceUID for item in middle.SourceImageSequence]
    assert named[0] == t1[len(t1) // 2].SOPInstanceUID
    assert middle.SourceImageSequence[0].SpatialLocationsPreserved == "YES"
    for role, slices in (("t2", range(1, 8)), ("flair", range(20, 60))):
        mine = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in sources[role]}
        of_role = [item for item in middle.SourceImageSequence if item.ReferencedSOPInstanceUID in mine]
        assert len(of_role) in slices
        assert {item.SpatialLocationsPreserved for item in of_role} == {"NO"}
    # Half of T1 and a quarter of each other, which lie where T1 is: much of it is explained by those.
    still = {role: series(role, grid=GRIDS["t1"]).voxels for role in GRIDS}
    expected = (0.5 * still["t1"] + 0.25 * still["t2"] + 0.25 * still["flair"])[len(t1) // 2]
    got = middle.pixel_array.astype(np.float64)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.97
    off = 0.5 * still["t1"][len(t1) // 2]
    assert np.corrcoef(got.ravel(), off.ravel())[0, 1] < 0.97  # T1 alone would not do


@pytest.mark.timeout(900)
def test_without_flair_it_is_made_of_two_and_a_late_one_makes_another(node: HeadNode, tmp_path: Path) -> None:
    for role in ("t2", "t1"):
        uid = send(node, write(tmp_path, "without", role, series(role), protocol="WITHOUT"))

    first = node.wait_for(uid, "made", timeout_s=120)
    assert "no series for flair came within" in first["reason"]
    job = ended(node, first["job"], "delivered")
    assert set(registrations(node, uid)) == {"t2"}

    send(node, write(tmp_path, "without", "flair", series("flair"), protocol="WITHOUT"))
    until = time.monotonic() + 120
    while (second := node.gathering(uid))["job"] == job["id"]:
        assert time.monotonic() < until, node.tail()
        time.sleep(0.2)
    assert ended(node, second["job"], "delivered")["series_uid"] != job["series_uid"]


def test_t1_alone_is_held_though_each_of_the_others_may_be_missing(node: HeadNode, tmp_path: Path) -> None:
    uid = send(node, write(tmp_path, "alone", "t1", series("t1"), protocol="WITHOUT"))

    held = node.wait_for(uid, "held", timeout_s=120)
    assert held["job"] is None
    assert "no series for t2, flair (mixed-mr needs 1 of flair or t2) came within" in held["reason"]


@pytest.mark.parametrize(("protocol", "state"), [("HOLD", "held"), ("DROP", "dropped")])
def test_without_flair_a_rule_may_hold_or_drop(node: HeadNode, tmp_path: Path, protocol: str, state: str) -> None:
    for role in ("t1", "t2"):
        uid = send(node, write(tmp_path, f"less {state}", role, series(role), protocol=protocol))

    assert node.wait_for(uid, state, timeout_s=120)["job"] is None


@pytest.mark.parametrize("elements", [{"ContrastBolusAgent": "GADOVIST"}, {"SeriesDescription": "AX T1 +C"}])
def test_a_t1_with_contrast_agent_is_no_t1(node: HeadNode, tmp_path: Path, elements: dict[str, str]) -> None:
    study = f"contrast {elements}"
    for role in ("t2", "flair"):
        send(node, write(tmp_path, study, role, series(role), protocol="HOLD"))
    uid = send(node, write(tmp_path, study, "t1", series("t1"), protocol="HOLD", elements=elements))

    held = node.wait_for(uid, "held", timeout_s=120)
    assert "no series for t1 came within" in held["reason"]

    def against() -> list[str]:
        versions = [version for one in node.show(uid)["series"] for version in one["sets"]]
        return [line for version in versions for line in version["rules"].get("hold as t1", [])]

    said = "contrast agent was given: "
    wait_until("T1 is routed", lambda: any(line.startswith(said) for line in against()), timeout_s=120)
    assert node.gathering(uid)["job"] is None


def test_a_flair_after_another_series_with_contrast_agent_is_refused(node: HeadNode, tmp_path: Path) -> None:
    """T1 with contrast agent at 9:25, FLAIR at 9:30: its own header says nothing."""
    agent = {"ContrastBolusAgent": "GADOVIST", "AcquisitionTime": "092500"}
    send(node, write(tmp_path, "late flair", "t1", series("t1"), protocol="MEET", hour=8))
    send(node, write(tmp_path, "late flair", "t1", series("t1"), protocol="MEET", elements=agent))
    for role in ("t2", "flair"):
        uid = send(node, write(tmp_path, "late flair", role, series(role), protocol="MEET"))

    refused = node.wait_for(uid, "refused", timeout_s=120)
    assert refused["job"] is None
    said = "contrast agent was given before the series for flair was acquired, as another series says"
    assert refused["reason"] == said


def test_two_patients_in_one_study_are_refused(node: HeadNode, tmp_path: Path) -> None:
    for role in ("t1", "t2"):
        send(node, write(tmp_path, "mixed", role, series(role), protocol="MEET"))
    uid = send(node, write(tmp_path, "mixed", "flair", series("flair"), protocol="MEET", patient="SOMEBODY"))

    refused = node.wait_for(uid, "refused", timeout_s=120)
    assert refused["reason"] == "the series of the study name 2 different patients"
    assert refused["job"] is None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("frame", ["frame of reference", "another"])
def test_the_head_of_another_patient_under_one_name_is_held(node: HeadNode, tmp_path: Path, frame: str) -> None:
    other, head = series("flair", case=TUMOUR, grid=((5.0, 1.0, 1.0), "axial")), series("t1")
    affine = other.affine.copy()
    affine[:3, 3] += middle_of(head) - middle_of(other)
    study = f"other {frame}"
    send(node, write(tmp_path, study, "t1", head, protocol="MEET"))
    send(node, write(tmp_path, study, "t2", series("t2"), protocol="MEET"))
    wrong = Volume(voxels=other.voxels, affine=affine, unit="MR")
    uid = send(node, write(tmp_path, study, "flair", wrong, protocol="MEET", frame=frame))

    job = ended(node, node.wait_for(uid, "made", timeout_s=120)["job"], "held", "delivered", "refused", "failed")
    assert job["state"] == "held"
    assert "The series for flair was not brought to the grid: its edges agree by 0." in job["reason"]


@pytest.mark.timeout(900)
def test_a_second_t1_is_chosen_by_the_rule_and_one_on_the_grid_itself_is_taken_as_it_is(
    node: HeadNode, tmp_path: Path
) -> None:
    grid = GRIDS["t1"]
    send(
        node,
        write(tmp_path, "newest", "t1", series("t1", grid=((4.0, 1.0, 1.0), "coronal")), protocol="NEWEST", hour=8),
    )
    newest = write(tmp_path, "newest", "t1", series("t1"), protocol="NEWEST")
    send(node, newest)
    send(node, write(tmp_path, "newest", "t2", series("t2", grid=grid), protocol="NEWEST"))
    uid = send(node, write(tmp_path, "newest", "flair", series("flair", grid=grid), protocol="NEWEST"))

    images = made(node, ended(node, node.wait_for(uid, "made", timeout_s=120)["job"], "delivered"))
    assert len(images) == len(newest)
    assert all(one["identity"] for one in registrations(node, uid).values())
    middle = images[len(images) // 2]
    assert len(middle.SourceImageSequence) >= 3
