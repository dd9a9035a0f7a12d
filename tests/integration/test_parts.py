"""A set of several stacks: a job for each part, told apart in records and objects; a part that cannot be is refused."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest

from node import app, flow
from node.commands import look
from node.demo.phantom import make_series
from node.records import jobs
from node.records.database import Records
from node.settings import Settings, parse
from node.worker import Worker
from tests.enhanced_phantom import enhanced
from tests.integration.test_faults import receive, until
from tests.running_node import settings_for
from tests.series import with_header


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = parse(settings_for(tmp_path), source="the test")
    app.prepare_state(made)
    return made


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    with closing(Records(settings.node.state)) as opened:
        yield opened


def two_phases(folder: Path, *, slices: tuple[int, int] = (5, 5)) -> list[Path]:
    """One series with two phases, the second one darker."""
    early = make_series(folder / "early", slices=slices[0])
    late = make_series(folder / "late", slices=slices[1], seed=1)
    series = pydicom.dcmread(early[0]).SeriesInstanceUID
    study = pydicom.dcmread(early[0]).StudyInstanceUID
    frame = pydicom.dcmread(early[0]).FrameOfReferenceUID
    made = []
    for phase, files in ((1, early), (2, late)):
        for path in files:
            out = folder / f"{phase}-{path.name}"
            common = {"SeriesInstanceUID": series, "StudyInstanceUID": study, "FrameOfReferenceUID": frame}
            made.append(with_header(path, out, TemporalPositionIdentifier=phase, AcquisitionNumber=phase, **common))
    return made


def delivered(settings: Settings, records: Records, series: str, count: int) -> list[dict[str, object]]:
    def found() -> list[dict[str, object]]:
        shown = look.show(records, series)["sets"]
        return [job for job in shown[-1]["jobs"] if job["state"] == "delivered"] if shown else []

    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, f"{count} jobs are delivered", lambda: len(found()) >= count)
    return found()


def test_two_phases_make_two_series_that_are_told_apart(settings: Settings, records: Records, tmp_path: Path) -> None:
    series = receive(settings, records, two_phases(tmp_path / "scan"))

    found = delivered(settings, records, series, 2)

    assert sorted(str(job["part"]) for job in found) == [
        "TemporalPositionIdentifier=1",
        "TemporalPositionIdentifier=2",
    ]
    assert len({job["series_uid"] for job in found}) == 2
    assert len({job["series_number"] for job in found}) == 2
    by_part = {job["part"]: job for job in found}
    for phase in ("1", "2"):
        job = by_part[f"TemporalPositionIdentifier={phase}"]
        assert str(job["series_description"]).startswith(f"AI DENOISED [{phase}] - ")
        images = [pydicom.dcmread(path) for path in (tmp_path / "delivered").rglob("*.dcm")]
        mine = [one for one in images if one.SeriesInstanceUID == job["series_uid"]]
        assert len(mine) == 5
        assert {str(one.TemporalPositionIdentifier) for one in mine} == {phase}
    rules = look.show(records, series)["sets"][0]["rules"]
    assert rules == {"ct of TemporalPositionIdentifier=1": [], "ct of TemporalPositionIdentifier=2": []}


def test_a_phase_with_a_gap_is_refused_alone(settings: Settings, records: Records, tmp_path: Path) -> None:
    files = two_phases(tmp_path / "scan")
    series = receive(settings, records, [path for path in files if path.name != "2-IM00003.dcm"])

    (job,) = delivered(settings, records, series, 1)

    assert job["part"] == "TemporalPositionIdentifier=1"
    (reasons,) = [
        lines
        for rule, lines in look.show(records, series)["sets"][0]["rules"].items()
        if rule.endswith("TemporalPositionIdentifier=2")
    ]
    assert any("gap" in line for line in reasons)


def test_what_nothing_tells_apart_stays_one_part_and_is_refused_with_the_reason(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    files = two_phases(tmp_path / "scan")
    same = [
        with_header(path, tmp_path / "same" / path.name, TemporalPositionIdentifier=None, AcquisitionNumber=1)
        for path in files
    ]
    series = receive(settings, records, same)

    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "routed", lambda: look.show(records, series)["sets"][0]["state"] == "unmatched")
    (reasons,) = look.show(records, series)["sets"][0]["rules"].values()
    assert any("lie at the position of another slice" in line for line in reasons)


def test_an_enhanced_object_whose_frames_are_not_described_fits_no_rule_and_is_no_fault_of_the_node(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    def undescribed(ds: pydicom.Dataset) -> None:
        ds.PerFrameFunctionalGroupsSequence = []

    series = receive(settings, records, [Path(enhanced(tmp_path / "e.dcm", undescribed))])

    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "routed", lambda: look.show(records, series)["sets"][0]["state"] != "frozen")
    (found,) = look.show(records, series)["sets"]
    assert found["state"] == "unmatched"
    assert found["rules"] == {"ct": ["0 frames are described, 6 are declared. Send it again."]}


def test_a_part_keeps_its_identity_and_a_whole_set_has_the_one_it_always_had() -> None:
    def key(**more: object) -> str:
        given = {"set_id": "s", "pipeline": "p", "version": "1", "engine_sha256": "e", "parameters": {}, **more}
        return jobs.job_id(**given)  # type: ignore[arg-type]

    assert key() == key(part="all")
    assert len({key(), key(part="EchoTime=1"), key(part="EchoTime=2")}) == 3
    assert key(roles={"a": ("s", "all"), "b": ("t", "all")}) == key(roles={"b": ("t", "all"), "a": ("s", "all")})
    assert key(roles={"a": ("s", "all"), "b": ("t", "all")}) != key(roles={"a": ("s", "all"), "b": ("u", "all")})


def test_arrays_of_a_part_are_made_again_after_a_restart_of_the_machine(
    settings: Settings, records: Records, tmp_path: Path
) -> None:
    receive(settings, records, two_phases(tmp_path / "scan"))
    with Worker(settings) as worker:
        worker.starting.freeze(everything_is_here=True)
        with records.read() as connection:
            (set_id,) = [row[0] for row in connection.exec_driver_sql("SELECT id FROM sets").all()]
        work = flow.bound()
        (first, _) = work.route(set_id)
        prepared = work.prepare(first)
        shutil.rmtree(work.arrays.spool.work)
        again = work.prepare(first)

    assert again["pixel_sha256"] == prepared["pixel_sha256"]
