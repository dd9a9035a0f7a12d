"""The node's own workitems: in the list when a study is routed, moved by verdicts, gone after their time."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Connection, insert, update

from node import signs
from node.commands.worklist import give_up, worklist
from node.dicom import json_model
from node.dicom.workitems import read_study
from node.errors import BadSetting
from node.records import subscriptions, triages, workitems
from node.records.database import FILE_NAME, Records, migrate
from node.records.tables import ASSOCIATIONS, INSTANCES, JOBS, MEMBERS, SETS
from node.records.workitems import Item
from node.records.worklist_tables import TRIAGES
from node.settings import parse
from node.settings.ups import Ups
from node.worklist import ups_cases, ups_events
from node.worklist.ups_moves import cancel_scheduled, move
from node.worklist.ups_order import ordered
from node.worklist.ups_purge import DAY_S, purge
from node.worklist.ups_status import State
from tests.running_node import settings_for
from tests.ups_clients import code, items, missing

STUDY, NAME = "1.2.3", "Yamada^Tarou=山田^太郎=やまだ^たろう"
ROWS: dict[str, Any] = {
    "association": {"calling_ae": "CT1", "receiver": "receiver-1/1", "opened_at": 0.0},
    "instance": {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax": "1.2.840.10008.1.2", "patient_key": "",
        "bytes": 0, "sha256": "", "pixel_sha256": "", "header": {},
    },
    "set": {"version": 1, "state": "routed", "evidence": "", "reasons": {}, "last_received_at": 0.0, "frozen_at": 0.0},
    "job": {
        "rule": "triage", "pipeline": "head-ct-triage", "pipeline_version": "1", "engine_sha256": "", "stage": "infer",
        "destinations": [], "state": "running", "started_at": 0.0, "updated_at": 0.0, "seconds": {},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records without anything in them; making them takes longer than a test."""
    folder = tmp_path_factory.mktemp("empty")
    migrate(folder)
    return folder


@pytest.fixture
def records(tmp_path: Path, empty: Path) -> Iterator[Records]:
    shutil.copy(empty / FILE_NAME, tmp_path)
    with closing(Records(tmp_path)) as found:
        with found.write() as connection:
            connection.execute(insert(ASSOCIATIONS).values(id="a1", **ROWS["association"]))
        yield found


def routed(connection: Connection, job_id: str, *, at: float, study_uid: str = STUDY, slices: int = 2) -> None:
    """A triage job of a series of its own, whose last image came at that time."""
    series = f"{study_uid}.{len(job_id)}{ord(job_id[-1])}"
    connection.execute(insert(SETS).values(id=f"set {job_id}", series_uid=series, **ROWS["set"]))
    for number in range(slices):
        uid = f"{series}.{number}"
        key = connection.execute(
            insert(INSTANCES).values(
                sop_instance_uid=uid, study_uid=study_uid, series_uid=series, association="a1", file=uid,
                received_at=at - number, **ROWS["instance"],
            )
        ).inserted_primary_key  # fmt: skip
        assert key is not None
        connection.execute(insert(MEMBERS).values(set_id=f"set {job_id}", instance_id=key[0]))
    connection.execute(insert(JOBS).values(id=job_id, set_id=f"set {job_id}", **ROWS["job"]))
    workitems.arrived(connection, job_id, read_study(image()), label="AI-TRIAGE", retrieve_ae=None, at=at)


def image() -> Dataset:
    return items(
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName=NAME,
        PatientID="4711",
        IssuerOfPatientID="SITE",
        PatientBirthDate="19500101",
        PatientSex="M",
        AccessionNumber="A17",
        StudyDescription="Head",
        RequestAttributesSequence=[
            items(RequestedProcedureID="P1", RequestedProcedureCodeSequence=[code("24725-4", "LN", "CT Head")])
        ],
    )


def verdict(connection: Connection, job_id: str, flag: str, *, at: float, credit_s: float = 0.0) -> dict[str, Any]:
    row = {
        "job_id": job_id, "study_uid": STUDY, "series_uid": "1.2.3.1", "scanner": "other", "flag": flag, "score": None,
        "percentile": None, "threshold": 0.5, "reasons": ["Too few slices."] if flag == "NOT_ANALYSABLE" else [],
        "credit_s": credit_s, "arrived_at": at, "decided_at": at, "report_uid": "", "assessment": {},
    }  # fmt: skip
    triages.put(connection, row)
    found = triages.get(connection, job_id)
    assert found is not None
    workitems.tell(connection, found)
    return found


def withdrawn(connection: Connection, job_id: str, *, at: float) -> None:
    connection.execute(update(TRIAGES).where(TRIAGES.c.job_id == job_id).values(withdrawn_at=at))
    found = triages.get(connection, job_id)
    assert found is not None
    workitems.tell(connection, found)


def own(connection: Connection) -> Item:
    return workitems.of_study(connection, STUDY)[0]


def seen(item: Item) -> tuple[str, str, str, float, bool]:
    found = json_model.dataset(item.attributes)
    label, priority = str(found.ProcedureStepLabel), str(found.ScheduledProcedureStepPriority)
    assert priority == item.priority
    return label, priority, item.state, item.credit_s, item.first


def test_a_study_is_in_the_list_when_it_is_routed_with_all_that_a_reader_needs(records: Records) -> None:
    with records.write() as connection:
        routed(connection, "j1", at=1_767_268_800.5, slices=3)
        routed(connection, "j2", at=1_767_268_900.0)
        workitems.arrived(connection, "j2", {}, label="AI-TRIAGE", retrieve_ae=None, at=2.0)  # once more
        (item,) = workitems.of_study(connection, STUDY)

    found = json_model.dataset(item.attributes)
    assert missing(found) == []
    assert item.uid == ups_cases.own_uid(STUDY)
    assert (item.queued_at, item.state, item.is_own) == (1_767_268_800.5, "SCHEDULED", True)
    assert (str(found.PatientName), found.PatientID, found.PatientSex) == (NAME, "4711", "M")
    assert list(found.SpecificCharacterSet) == ["", "ISO 2022 IR 87"]
    assert found.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"
    assert (found.WorklistLabel, found.InputReadinessState) == ("AI-TRIAGE", "READY")
    assert found.ScheduledProcedureStepStartDateTime[:4] in ("2025", "2026")
    (request,) = found.ReferencedRequestSequence
    assert (request.AccessionNumber, request.RequestedProcedureID, request.StudyInstanceUID) == ("A17", "P1", STUDY)
    first, second = found.InputInformationSequence
    assert (len(first.ReferencedSOPSequence), len(second.ReferencedSOPSequence)) == (3, 2)
    assert first.DICOMRetrievalSequence[0].RetrieveAETitle == "CT1"
    assert seen(item) == ("CT head - AI triage awaited", "MEDIUM", "SCHEDULED", 0.0, False)


def test_a_study_whose_images_tell_nothing_is_in_the_list_all_the_same(records: Records) -> None:
    with records.write() as connection:
        routed(connection, "j1", at=1.0)
        connection.execute(workitems.WORKITEMS.delete())
        workitems.arrived(connection, "j1", {}, label="AI-TRIAGE", retrieve_ae="PACS", at=1.0)
        found = json_model.dataset(own(connection).attributes)

    assert missing(found) == []
    assert ups_cases.retrieve_ae(own_attributes(records)) == "PACS"


def own_attributes(records: Records) -> json_model.Plain:
    with records.read() as connection:
        return own(connection).attributes


def test_verdicts_move_it_and_the_best_known_of_several_series_counts(records: Records) -> None:
    with records.write() as connection:
        for job in ("j1", "j2", "j3"):
            routed(connection, job, at=10.0)
        subscriptions.put(connection, "READER", own(connection).uid, locked=False, at=10.0)

        verdict(connection, "j1", "NOT_ANALYSABLE", at=20.0)
        assert seen(own(connection)) == ("CT head - AI triage not possible", "MEDIUM", "SCHEDULED", 0.0, True)
        assert "Too few slices." in str(
            json_model.dataset(own(connection).attributes).CommentsOnTheScheduledProcedureStep
        )
        verdict(connection, "j2", "FLAG_NOT_RAISED", at=21.0, credit_s=60.0)
        assert seen(own(connection)) == ("CT head - AI flag not raised", "MEDIUM", "SCHEDULED", 60.0, False)
        row = verdict(connection, "j3", "FLAG_RAISED", at=22.0, credit_s=7000.0)
        assert seen(own(connection)) == ("CT head - AI flag raised", "HIGH", "SCHEDULED", 7000.0, False)
        assert own(connection).job_id == "j3"
        events = subscriptions.waiting(connection, "READER", most=9)
        workitems.tell(connection, row)
        assert len(subscriptions.waiting(connection, "READER", most=9)) == len(events) == 3  # twice is once

        withdrawn(connection, "j3", at=30.0)
        assert seen(own(connection)) == ("CT head - AI flag not raised", "MEDIUM", "SCHEDULED", 60.0, False)
        for job in ("j1", "j2"):
            withdrawn(connection, job, at=31.0)
        assert seen(own(connection)) == ("CT head - AI result withdrawn", "MEDIUM", "SCHEDULED", 0.0, False)


def test_what_is_claimed_stays_and_what_ended_comes_again_for_a_flag_only(records: Records) -> None:
    with records.write() as connection:
        for job in ("j1", "j2", "j3", "j4"):
            routed(connection, job, at=10.0)
        verdict(connection, "j1", "FLAG_NOT_RAISED", at=20.0)
        claimed = move(connection, own(connection), State.IN_PROGRESS, own(connection).attributes, at=30.0)
        verdict(connection, "j2", "FLAG_RAISED", at=31.0, credit_s=7000.0)
        assert seen(own(connection))[:3] == ("CT head - AI flag not raised", "MEDIUM", "IN PROGRESS")

        move(connection, claimed, State.COMPLETED, claimed.attributes, at=40.0, ended_at=40.0)
        verdict(connection, "j3", "FLAG_NOT_RAISED", at=50.0)
        assert [item.state for item in workitems.of_study(connection, STUDY)] == ["COMPLETED"]
        row = verdict(connection, "j4", "FLAG_RAISED", at=60.0, credit_s=6000.0)
        workitems.tell(connection, row)
        again, before = workitems.of_study(connection, STUDY)

    assert (before.uid, before.state) == (ups_cases.own_uid(STUDY), "COMPLETED")
    assert again.uid == ups_cases.own_uid(STUDY, "j4")
    assert seen(again) == ("CT head - AI flag raised", "HIGH", "SCHEDULED", 6000.0, False)
    found = json_model.dataset(again.attributes)
    assert missing(found) == []
    assert (str(found.PatientName), found.SOPInstanceUID) == (NAME, again.uid)
    assert len(found.InputInformationSequence) == 1


def test_a_claim_whose_reader_is_gone_is_given_up_and_the_study_is_in_its_place_again(records: Records) -> None:
    with records.write() as connection:
        for job in ("j1", "j2"):
            routed(connection, job, at=10.0)
        verdict(connection, "j1", "FLAG_RAISED", at=20.0, credit_s=6000.0)
        claimed = move(connection, own(connection), State.IN_PROGRESS, own(connection).attributes, at=30.0)

    done = give_up(records, claimed.uid, by="N.N.", why="The workstation broke.")
    with pytest.raises(BadSetting, match="CANCELED, not claimed"):
        give_up(records, claimed.uid, by="N.N.", why="Twice.")
    with records.write() as connection:
        again, before = workitems.of_study(connection, STUDY)
        assert (again.uid, before.state, again.queued_at) == (done["workitem_uid"], "CANCELED", claimed.queued_at)
        assert seen(again) == ("CT head - AI flag raised", "HIGH", "SCHEDULED", 6000.0, False)
        assert missing(json_model.dataset(again.attributes)) == []
        verdict(connection, "j2", "FLAG_NOT_RAISED", at=40.0)  # nobody has read it: the flag still counts
        assert seen(own(connection)) == ("CT head - AI flag raised", "HIGH", "SCHEDULED", 6000.0, False)


def test_what_a_peer_wrote_into_it_is_not_lost(records: Records) -> None:
    with records.write() as connection:
        routed(connection, "j1", at=10.0)
        mine = own(connection)
        said = mine.attributes | {
            "00741204": {"vr": "LO", "Value": ["Call me"]},
            "00741200": {"vr": "CS", "Value": ["HIGH"]},
        }
        workitems.change(connection, mine.uid, since=mine.state, at=11.0, attributes=said, priority="HIGH")

        verdict(connection, "j1", "FLAG_NOT_RAISED", at=20.0)

        assert seen(own(connection))[:2] == ("Call me", "HIGH")


def test_without_a_workitem_a_verdict_makes_none(records: Records) -> None:
    with records.write() as connection:
        routed(connection, "j1", at=10.0)
        connection.execute(workitems.WORKITEMS.delete())  # as where the list is off
        verdict(connection, "j1", "FLAG_RAISED", at=20.0)

        assert workitems.of_study(connection, STUDY) == []


def test_the_order_is_that_of_the_rule(records: Records) -> None:
    with records.write() as connection:
        for number, study in enumerate(("1.2.4", "1.2.5", "1.2.6", "1.2.7")):
            routed(connection, f"o{number}", at=600.0 * number, study_uid=study)
        for study, credit_s, first in (("1.2.6", 7200.0, False), ("1.2.7", 0.0, True)):
            uid = workitems.of_study(connection, study)[0].uid
            workitems.change(connection, uid, since="SCHEDULED", at=1.0, credit_s=credit_s, first=first)
        found = workitems.listing(connection)

    assert [one.study_uid for one in ordered(found, up=True)] == ["1.2.7", "1.2.6", "1.2.4", "1.2.5"]
    assert [one.study_uid for one in ordered(found, up=False)] == ["1.2.4", "1.2.5", "1.2.6", "1.2.7"]


def test_the_list_does_not_grow_for_ever(records: Records) -> None:
    settings = Ups(unclaimed_days=7.0, keep_days=7.0, lock_days=30.0)
    with records.write() as connection:
        routed(connection, "j1", at=0.0)
        subscriptions.put(connection, "READER", own(connection).uid, locked=True, at=0.0)

    assert purge(records, settings, at=6 * DAY_S) == (0, 0)
    assert purge(records, Ups(unclaimed_days="never"), at=60 * DAY_S) == (0, 0)
    assert purge(records, settings, at=8 * DAY_S) == (1, 0)
    with records.read() as connection:
        told = [event.body["00741000"]["Value"] for event in subscriptions.waiting(connection, "READER", most=9)]
        assert told == [["IN PROGRESS"], ["CANCELED"]]
        found = json_model.dataset(own(connection).attributes)
    assert "7 days" in str(found.ProcedureStepProgressInformationSequence[0].ReasonForCancellation)
    assert purge(records, settings, at=20 * DAY_S) == (0, 0)  # somebody holds it
    assert purge(records, settings, at=40 * DAY_S) == (0, 1)  # not for ever
    with records.read() as connection:
        assert workitems.of_study(connection, STUDY) == []
        assert subscriptions.count_waiting(connection) == 0


def test_a_start_of_the_node_is_told_once_however_often_it_starts(records: Records) -> None:
    with records.write() as connection:
        subscriptions.put(connection, "READER", subscriptions.ALL, locked=False, at=0.0)
        for at in (1.0, 2.0):
            assert ups_events.restarted(connection, ["MONITOR"], at=at) == 2
        (event,) = subscriptions.waiting(connection, "MONITOR", most=9)
        assert len(subscriptions.waiting(connection, "READER", most=9)) == 1

    assert json_model.dataset(event.body).SCPStatus == "RESTARTED"


def test_a_cancelled_study_says_when_and_why(records: Records) -> None:
    with records.write() as connection:
        routed(connection, "j1", at=0.0)
        cancel_scheduled(connection, own(connection), {}, at=5.0)
        found = json_model.dataset(own(connection).attributes)

    (progress,) = found.ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"
    assert progress.ProcedureStepCancellationDateTime


def test_the_command_line_says_who_is_next_and_why(tmp_path: Path, empty: Path) -> None:
    settings = parse(settings_for(tmp_path), source="the test")
    state = settings.node.state
    state.mkdir(parents=True)
    shutil.copy(empty / FILE_NAME, state)
    with closing(Records(state)) as records:
        with records.write() as connection:
            connection.execute(insert(ASSOCIATIONS).values(id="a1", **ROWS["association"]))
            for number, study in enumerate((STUDY, "1.2.4", "1.2.5")):
                routed(connection, f"o{number}", at=600.0 * number, study_uid=study)
            verdict(connection, "o0", "FLAG_RAISED", at=20.0, credit_s=600.0)
            other = workitems.of_study(connection, "1.2.5")[0]
            move(connection, other, State.IN_PROGRESS, other.attributes, at=30.0, claimed_by="READER")
        signs.beat(state, "triage", up=1)
        found = worklist(settings, records, everything=False)
        (state / "triage.alive").unlink()
        down = worklist(settings, records, everything=False)

    assert [(one["study_uid"], one["place"], one["why"]) for one in found["items"]] == [
        (STUDY, 1, "10 min ahead of its arrival"), ("1.2.4", 2, "by arrival"), ("1.2.5", None, "claimed by READER"),
    ]  # fmt: skip
    assert found["items"][0]["waits_s"] > 0
    assert NAME not in str(found)
    assert (found["triage_up"], down["triage_up"]) == (True, False)
    assert down["items"][0]["why"] == "by arrival: triage is down"
