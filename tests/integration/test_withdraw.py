"""Verdicts that are taken back: which notes do it, whom they reach, and what a later state of a series does."""

import copy
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Connection, insert

from node.commands import decide
from node.dicom import rejection_notes
from node.errors import BadSetting, Refuse
from node.records import notices, rejections, triages
from node.records.database import Records
from node.records.tables import ASSOCIATIONS, INSTANCES, JOBS, MEMBERS, SERIES, SETS
from node.settings.flags import Hl7Channel
from node.worklist.flags import queue_flag
from node.worklist.withdraw import already_rejected, supersede, withdraw
from tests.verdicts import FACTS, STUDY, new_records, verdict

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
IMAGES = [f"1.2.826.0.1.9.{number}" for number in range(1, 5)]
CHANNEL = Hl7Channel(name="ris", host="127.0.0.1", port=1)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path)) as found:
        yield found


def add_series(connection: Connection, job_id: str, *, version: int, images: list[str]) -> None:
    """A state of one series in the records, and a job that takes it."""
    if version == 1:
        values = {"id": "a", "calling_ae": "CT", "receiver": "r", "opened_at": 1.0}
        connection.execute(ASSOCIATIONS.insert().values(values))
        connection.execute(
            SERIES.insert().values(
                series_uid="1.2.9", study_uid=STUDY, instances=len(images), first_at=1.0, last_at=1.0
            )
        )
    connection.execute(
        SETS.insert().values(
            id=f"set-{job_id}", series_uid="1.2.9", version=version, state="routed", evidence="", reasons={},
            last_received_at=1.0, frozen_at=1.0,
        )
    )  # fmt: skip
    for name in images:
        row = {
            "sop_instance_uid": name, "sop_class_uid": "1.2", "study_uid": STUDY, "series_uid": "1.2.9",
            "transfer_syntax": "1.2", "patient_key": "k", "file": name, "bytes": 1, "sha256": "0", "pixel_sha256": "0",
            "header": {}, "association": "a", "received_at": 1.0,
        }  # fmt: skip
        known = connection.execute(INSTANCES.select().where(INSTANCES.c.sop_instance_uid == name)).one_or_none()
        key = known.id if known else connection.execute(insert(INSTANCES).values(row)).inserted_primary_key[0]
        connection.execute(MEMBERS.insert().values(set_id=f"set-{job_id}", instance_id=key))
    connection.execute(
        JOBS.insert().values(
            id=job_id, set_id=f"set-{job_id}", rule="head", pipeline="head-ct-triage", pipeline_version="1",
            engine_sha256="", destinations=[], state="delivered", stage="deliver", started_at=1.0, updated_at=1.0,
            seconds={},
        )
    )  # fmt: skip


def decided(connection: Connection, job_id: str, flag: str = "FLAG_RAISED") -> dict[str, Any]:
    """A verdict as the node records it, with the notice that goes with it."""
    row = verdict(job_id, flag, decided_at=time.time())
    triages.put(connection, row)
    supersede(connection, row, at=time.time())
    if not already_rejected(connection, row, at=time.time()):
        queue_flag(connection, row, [CHANNEL], FACTS)
    return row


def told(records: Records, job_id: str) -> list[tuple[str, str]]:
    with records.read() as connection:
        return [(row["kind"], row["state"]) for row in notices.of_job(connection, job_id)]


def carried(connection: Connection, job_id: str) -> None:
    """The channel had the flag."""
    (notice,) = notices.due(connection, CHANNEL.name, at=time.time() + 1)
    assert notice.job_id == job_id
    notices.delivered(connection, notice, answer="AA", at=time.time())


@pytest.mark.parametrize("carried_it", [True, False])
def test_a_withdrawal_goes_to_whom_the_flag_went_and_a_flag_that_nobody_had_is_not_sent(
    records: Records, carried_it: bool
) -> None:
    with records.write() as connection:
        add_series(connection, "job-1", version=1, images=IMAGES)
        decided(connection, "job-1")
        if carried_it:
            carried(connection, "job-1")
        assert withdraw(connection, "job-1", by="a radiologist", why="Wrong.", at=time.time())
        assert not withdraw(connection, "job-1", by="a radiologist", why="Wrong.", at=time.time())
        assert rejections.to_retract(connection) == ["job-1"]
        triages.noted(connection, "job-1", note="written", trouble="")
        assert rejections.to_retract(connection) == []

    wanted = [("flag", "delivered"), ("withdrawal", "waiting")] if carried_it else [("flag", "cancelled")]
    assert told(records, "job-1") == wanted


def test_the_same_series_with_other_images_supersedes_and_says_so_only_where_the_verdict_is_another(
    records: Records,
) -> None:
    with records.write() as connection:
        add_series(connection, "job-1", version=1, images=IMAGES[:3])
        decided(connection, "job-1")
        carried(connection, "job-1")
        add_series(connection, "job-2", version=2, images=IMAGES)
        decided(connection, "job-2")
        row = triages.get(connection, "job-1")
        assert row is not None
        assert row["withdrawn_at"] is not None
        carried(connection, "job-2")
        add_series(connection, "job-3", version=3, images=[*IMAGES, "1.2.826.0.1.9.99"])
        decided(connection, "job-3", "FLAG_NOT_RAISED")

    assert told(records, "job-1") == [("flag", "delivered")]
    assert told(records, "job-2") == [("flag", "delivered"), ("withdrawal", "waiting")]
    assert told(records, "job-3") == []


def test_an_earlier_state_that_is_triaged_late_does_not_supersede_a_newer_one(records: Records) -> None:
    with records.write() as connection:
        add_series(connection, "job-1", version=1, images=IMAGES[:3])
        add_series(connection, "job-2", version=2, images=IMAGES)
        decided(connection, "job-2")
        decided(connection, "job-1", "FLAG_NOT_RAISED")
        row = triages.get(connection, "job-2")

    assert row is not None
    assert row["withdrawn_at"] is None


@pytest.mark.parametrize(
    ("code", "withdraws"), [("113001", True), ("113037", True), ("113038", True), ("113039", False), ("", False)]
)
def test_a_note_withdraws_what_rests_on_its_images_and_one_that_came_first_keeps_the_flag_down(
    records: Records, code: str, withdraws: bool
) -> None:
    with records.write() as connection:
        add_series(connection, "job-1", version=1, images=IMAGES)
        found = connection.execute(INSTANCES.select().where(INSTANCES.c.sop_instance_uid == IMAGES[0])).one()
        note = rejections.from_row({**found._mapping, "sop_instance_uid": "1.2.77", "sop_class_uid": KEY_OBJECTS})
        rejections.put(connection, note, code=code, instances=[IMAGES[2], "1.2.3.4"], at=time.time())
        assert rejections.resting_on(connection, [IMAGES[2], "1.2.3.4"]) == {}  # there is no verdict yet
        decided(connection, "job-1")
        row = triages.get(connection, "job-1")
        assert row is not None
        assert (row["withdrawn_at"] is not None) is withdraws
        if not withdraws:
            assert rejections.resting_on(connection, [IMAGES[2], IMAGES[3], "1.2.3.4"]) == {"job-1": 2}

    assert told(records, "job-1") == ([] if withdraws else [("flag", "waiting")])


def test_a_person_takes_a_verdict_back_once(records: Records) -> None:
    key = "a" * 64
    with records.write() as connection:
        add_series(connection, key, version=1, images=IMAGES)
        decided(connection, key)
        carried(connection, key)

    done = decide.withdraw(records, "aaaaaaaa", by="Dr N", why="The scan was of a phantom.")

    assert done == {"job": key, "channels": ["ris"]}
    with pytest.raises(BadSetting, match="no verdict that holds"):
        decide.withdraw(records, "aaaaaaaa", by="Dr N", why="The scan was of a phantom.")


def key_objects(path: Path, *, title: str = "113001", scheme: str = "DCM", content: bool = True) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = KEY_OBJECTS, "1.2.77"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(path, {}, preamble=b"\0" * 128, file_meta=meta)
    found.SOPClassUID, found.SOPInstanceUID, found.StudyInstanceUID = KEY_OBJECTS, "1.2.77", STUDY
    code, image, series, study = Dataset(), Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = title, scheme, "title"
    found.ConceptNameCodeSequence = Items([code])
    references = []
    for name in IMAGES[:2]:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = "1.2", name
        references.append(one)
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.9", Items(references)
    study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, Items([series])
    found.CurrentRequestedProcedureEvidenceSequence = Items([study])
    if content:
        image.ValueType, image.ReferencedSOPSequence = "IMAGE", Items([copy.deepcopy(references[0])])
        found.ContentSequence = Items([image])
    found.save_as(path, enforce_file_format=True)
    return path


def test_a_note_is_read_by_its_title_and_content_and_by_its_evidence_where_it_has_none(tmp_path: Path) -> None:
    def read(**changes: Any) -> dict[str, Any]:
        return rejection_notes.read({"path": str(key_objects(tmp_path / "note.dcm", **changes))})

    assert read() == {"code": "113001", "study_uid": STUDY, "instances": IMAGES[:1]}
    assert read(content=False)["instances"] == IMAGES[:2]
    assert read(title="113000")["code"] == ""  # "Of Interest" rejects nothing
    assert read(scheme="99X")["code"] == ""


def test_a_note_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.dcm").write_bytes(b"\0" * 400)

    with pytest.raises(Refuse, match="cannot be read"):
        rejection_notes.read({"path": str(tmp_path / "no.dcm")})
