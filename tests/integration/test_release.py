"""A person decides of what a check held: it leaves with a caution, or never."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest

from node import app
from node.commands import decide, look
from node.demo.phantom import make_series
from node.errors import BadSetting
from node.records.database import Records
from node.settings import Settings, parse
from node.worker import Worker
from tests.integration.test_faults import job_state, receive, until
from tests.running_node import cli, settings_for, write_toml
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


@pytest.fixture
def held(settings: Settings, records: Records, tmp_path: Path) -> str:
    """A series that a check holds: the pixels are said to be larger than the field of view allows."""
    files = [
        with_header(path, tmp_path / "held" / path.name, ReconstructionDiameter=123.0)
        for path in make_series(tmp_path / "scan", slices=4)
    ]
    series = receive(settings, records, files)
    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "held", lambda: job_state(records, series) == "held")
    return series


def job_of(records: Records, series: str) -> dict[str, object]:
    (job,) = look.show(records, series)["sets"][0]["jobs"]
    return dict(job)


def derived(tmp_path: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in (tmp_path / "delivered").rglob("*.dcm")]


def test_a_released_result_leaves_with_a_caution_and_the_events_say_who_and_why(
    settings: Settings, records: Records, held: str, tmp_path: Path
) -> None:
    key = str(job_of(records, held)["id"])
    assert derived(tmp_path) == []

    done = decide.release(records, key[:12], by="A. Physicist", why="checked by hand")
    assert done["findings"] == ["pixel_size"]
    assert job_state(records, held) == "released"
    with Worker(settings) as worker:
        until(worker, "delivered", lambda: job_state(records, held) == "delivered")

    job = job_of(records, held)
    assert str(job["series_description"]).startswith("AI DENOISED CAUTION - ")
    images = derived(tmp_path)
    assert len(images) == 4
    assert all("pixel_size" in image.ImageComments for image in images)
    said = [event["detail"] for event in job["events"] if event["kind"] == "released"]  # type: ignore[attr-defined]
    assert [(one["by"], one["why"]) for one in said] == [("A. Physicist", "checked by hand")]
    assert not any("Physicist" in str(image) for image in images)


def test_another_finding_than_those_that_were_released_holds_it_again(
    settings: Settings, records: Records, held: str
) -> None:
    job = job_of(records, held)
    decide.release(records, str(job["id"]), by="A. Physicist", why="checked by hand")
    with records.write() as connection:
        connection.exec_driver_sql(
            """UPDATE events SET detail = replace(detail, 'pixel_size', 'another') WHERE kind = 'released'"""
        )
    with Worker(settings) as worker:
        until(worker, "held again", lambda: job_state(records, held) == "held")


def test_what_is_discarded_never_leaves_whatever_is_replayed(
    settings: Settings, records: Records, held: str, tmp_path: Path
) -> None:
    key = str(job_of(records, held)["id"])
    decide.discard(records, key, by="A. Physicist", why="wrong patient position")

    with pytest.raises(BadSetting, match="Nothing of it failed or was held"):
        look.replay(records, held)
    with pytest.raises(BadSetting, match="discarded, not held by a check"):
        decide.release(records, key, by="B", why="no")
    with records.write() as connection:  # as a later version of the rules would route it anew
        connection.exec_driver_sql("UPDATE sets SET run = run + 1")
    with Worker(settings) as worker:
        until(worker, "routed again", lambda: not _to_start(records))
        for _ in range(20):
            worker.tick()
    assert job_state(records, held) == "discarded"
    assert derived(tmp_path) == []


def _to_start(records: Records) -> bool:
    with records.read() as connection:
        return bool(connection.exec_driver_sql("SELECT id FROM sets WHERE run > started_run").all())


def test_only_what_a_check_held_can_be_released(settings: Settings, records: Records, tmp_path: Path) -> None:
    series = receive(settings, records, make_series(tmp_path / "scan", slices=4))
    with Worker(settings) as worker:
        worker.tick(everything_is_here=True)
        until(worker, "delivered", lambda: job_state(records, series) == "delivered")
    key = str(job_of(records, series)["id"])

    with pytest.raises(BadSetting, match="The job is delivered, not held by a check"):
        decide.release(records, key, by="A", why="b")
    with pytest.raises(BadSetting, match="The job is delivered"):
        decide.discard(records, key, by="A", why="b")
    with pytest.raises(BadSetting, match="no single job"):
        decide.release(records, "0123456789", by="A", why="b")
    with pytest.raises(BadSetting, match="--reason needs"):
        decide.release(records, key, by="A", why=" ")


def test_the_command_line_asks_who_and_why(settings: Settings, records: Records, held: str, tmp_path: Path) -> None:
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path))
    key = str(job_of(records, held)["id"])[:12]

    assert cli("release", "-c", file, key)[0] == 2
    code, said, trouble = cli("release", "-c", file, key, "--by", "A. Physicist", "--reason", "checked")
    assert code == 0, trouble
    assert "Released, with a caution: pixel_size" in said
    code, said, _ = cli("show", "-c", file, held)
    assert code == 0
    assert "released by A. Physicist" in said
