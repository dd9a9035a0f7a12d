"""A map is proven as the images are: one question for both, or a look into both series."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import update

from node.demo.phantom import make_series
from node.dicom.uids import form_series_uid
from node.records import derived, jobs
from node.records.database import Records
from node.records.states import CommitmentState, DispatchState
from node.records.tables import RESULTS
from tests.delivering import JOB, NAME, Scp, Sending, finish_job, uid

ASK: dict[str, Any] = {"commitment": "ask", "commitment_wait_s": 2.0, "commitment_retry_hours": [1.0]}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A finished job of three images, and of a fourth object that stands for the map: in a series of its own."""
    made = make_series(tmp_path / "made", slices=4)
    last = pydicom.dcmread(made[-1])
    last.SeriesInstanceUID = form_series_uid(str(last.SeriesInstanceUID), "map")
    last.save_as(made[-1])
    finish_job(tmp_path, made)
    with closing(Records(tmp_path)) as records, records.write() as connection:
        jobs.note(connection, JOB, at=3.0, maps=[NAME])
        connection.execute(update(RESULTS).where(RESULTS.c.sop_instance_uid == uid(made[-1])).values(form="map"))
    return tmp_path


def test_one_question_is_about_images_and_map(state: Path) -> None:
    with Scp(state / "archive", commits=["ok"]) as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED
        assert [len(one) for one in archive.questions()] == [4]
        assert len(archive.asked()) == 4


def test_an_archive_without_storage_commitment_is_asked_for_both_series(state: Path) -> None:
    with Scp(state / "archive", finds=True) as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.attempt().state is DispatchState.DELIVERED
        assert [one.state for one in sending.questions()] == [CommitmentState.FOUND]


def test_looking_into_the_series_of_the_images_alone_would_not_find_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "forms", lambda *_: ["classic"])
    with Scp(state / "archive", finds=True) as archive, Sending(state, archive.port, **ASK) as sending:
        assert sending.attempt().state is DispatchState.WAITING
        assert sending.dispatch()["trouble"] == "Question 1 of 2 to the archive: 1 absent."


def test_a_map_without_a_known_answer_is_looked_for_in_its_own_series(state: Path) -> None:
    """It is kept there, and its answer comes too late."""
    with (
        Scp(state / "archive", finds=True, hang_at=4) as archive,
        Sending(state, archive.port, response_timeout_s=2.0) as sending,
    ):
        assert sending.attempt().state is DispatchState.WAITING
        sending.now += 60.0
        assert sending.attempt().state is DispatchState.DELIVERED
        assert len(archive.asked()) == 4, "nothing went twice"
