"""The worklist over real associations: create, find, claim, report, end (PS3.4 annex CC)."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO

import pytest
from pynetdicom import dimse_primitives
from pynetdicom.association import Association

from node.records import workitems
from node.records.database import Records
from node.records.workitems import Item
from node.worklist.ups_status import PULL, PUSH, QUERY, WATCH
from tests import ups_clients
from tests.hostile import Receiver
from tests.running_node import AE_TITLE, settings_for
from tests.ups_clients import change_state, create, find, found_uids, get, items, performed, set_values, workitem

UPS = {"claim": ["READER", "OTHER"], "watch": ["WATCHER"], "create": ["READER"]}
PEERS = ("READER", "OTHER", "WATCHER", "STRANGER")
MINE, THEIRS = "1.2.9.1", "1.2.9.2"


@pytest.fixture(scope="module")
def scp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver process; no worker runs, so that triage is down and arrival orders the list."""
    folder = tmp_path_factory.mktemp("ups")
    raw = settings_for(folder, worklist={"ups": UPS})
    raw["peers"] = [{"name": name.lower(), "ae_title": name, "addresses": ["127.0.0.0/8"]} for name in PEERS]
    with Receiver(folder, raw) as running:
        yield running


@pytest.fixture
def reader(scp: Receiver) -> Iterator[Association]:
    with ups_clients.association(scp.port, called=AE_TITLE) as opened:
        yield opened


def recorded(scp: Receiver, uid: str) -> Item:
    with closing(Records(scp.settings.node.state)) as records, records.read() as connection:
        found = workitems.get(connection, uid)
    assert found is not None
    return found


def test_a_study_is_created_found_claimed_read_and_completed(reader: Association) -> None:
    assert create(reader, "1.2.5.1") == 0x0000
    assert "1.2.5.1" in found_uids(reader, ProcedureStepState="SCHEDULED")

    assert change_state(reader, "1.2.5.1", "IN PROGRESS", MINE) == 0x0000
    assert change_state(reader, "1.2.5.1", "COMPLETED", MINE) == 0xC304  # nothing was performed
    progress = items(ProcedureStepProgress="50", ProcedureStepProgressDescription="half")
    assert set_values(
        reader, "1.2.5.1", TransactionUID=MINE, ProcedureStepProgressInformationSequence=[progress],
        UnifiedProcedureStepPerformedProcedureSequence=[performed()],
    ) == 0x0000  # fmt: skip
    assert change_state(reader, "1.2.5.1", "COMPLETED", MINE) == 0x0000
    assert change_state(reader, "1.2.5.1", "COMPLETED", MINE) == 0xB306

    status, found = get(reader, "1.2.5.1")
    assert status == 0x0000
    assert found is not None
    assert (found.ProcedureStepState, found.SOPClassUID, found.SOPInstanceUID) == ("COMPLETED", PUSH, "1.2.5.1")
    assert found.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 50
    assert "TransactionUID" not in found  # it is the key of the claim


def test_every_wrong_turn_has_its_status(reader: Association) -> None:
    """PS3.4 tables CC.1.1-2 and CC.2.6-1."""
    uid = "1.2.5.2"
    assert change_state(reader, uid, "IN PROGRESS", MINE) == 0xC307
    assert get(reader, uid)[0] == 0xC307
    assert set_values(reader, uid, ProcedureStepLabel="x") == 0xC307
    assert create(reader, uid, workitem(ProcedureStepState="IN PROGRESS")) == 0xC309
    assert create(reader, uid) == 0x0000
    assert create(reader, uid) == 0x0111
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        assert create(reader, "../../evil") == 0x0117

    for state, status in (("COMPLETED", 0xC310), ("CANCELED", 0xC310), ("SCHEDULED", 0xC303), ("DONE", 0x0115)):
        assert change_state(reader, uid, state, MINE) == status
    assert change_state(reader, uid, "IN PROGRESS", None) == 0xC301
    assert set_values(reader, uid, TransactionUID=MINE, ProcedureStepLabel="x") == 0xC310

    assert change_state(reader, uid, "IN PROGRESS", MINE) == 0x0000
    assert change_state(reader, uid, "IN PROGRESS", THEIRS) == 0xC302
    assert change_state(reader, uid, "IN PROGRESS", MINE) == 0xC302
    assert change_state(reader, uid, "SCHEDULED", MINE) == 0xC303
    assert change_state(reader, uid, "COMPLETED", THEIRS) == 0xC301
    assert change_state(reader, uid, "CANCELED", THEIRS) == 0xC301
    assert set_values(reader, uid, ProcedureStepLabel="x") == 0xC301
    assert set_values(reader, uid, TransactionUID=THEIRS, ProcedureStepLabel="x") == 0xC301
    assert set_values(reader, uid, TransactionUID=MINE, ProcedureStepState="COMPLETED") == 0x0106
    assert set_values(reader, uid, TransactionUID=MINE, PatientName="ROE^JANE") == 0x0106
    assert get(reader, uid)[1].ProcedureStepLabel == "Read it"  # type: ignore[union-attr]

    assert change_state(reader, uid, "CANCELED", MINE) == 0x0000
    assert change_state(reader, uid, "CANCELED", MINE) == 0xB304
    assert change_state(reader, uid, "CANCELED", THEIRS) == 0xC301
    assert change_state(reader, uid, "COMPLETED", MINE) == 0xC300
    assert change_state(reader, uid, "IN PROGRESS", MINE) == 0xC300
    assert set_values(reader, uid, TransactionUID=MINE, ProcedureStepLabel="x") == 0xC300
    found = get(reader, uid)[1]
    assert found is not None
    (progress,) = found.ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepCancellationDateTime
    assert progress.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"


def test_what_is_missing_at_creation_is_filled_in_or_refused(reader: Association) -> None:
    assert create(reader, "1.2.5.3", workitem(label="")) == 0xB300
    assert get(reader, "1.2.5.3")[1].WorklistLabel == "AI-TRIAGE"  # type: ignore[union-attr]
    for keyword in (
        "ScheduledProcedureStepPriority", "ProcedureStepLabel", "ScheduledProcedureStepStartDateTime",
        "InputReadinessState",
    ):  # fmt: skip
        assert create(reader, "1.2.5.4", workitem(**{keyword: None})) == 0x0121, keyword
        lacking = workitem()
        del lacking[keyword]
        assert create(reader, "1.2.5.4", lacking) == 0x0120, keyword
    for wrong in ({"ScheduledProcedureStepPriority": "URGENT"}, {"InputReadinessState": "MAYBE"}):
        assert create(reader, "1.2.5.4", workitem(**wrong)) == 0x0106, wrong
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        assert create(reader, "1.2.5.4", workitem(StudyInstanceUID="1.02")) == 0x0106
    assert create(reader, "1.2.5.5", workitem(TransactionUID=MINE)) == 0xB300
    assert reader.send_n_create(None, PUSH, "1.2.5.9")[0].Status == 0x0120


def test_the_list_is_in_the_order_of_the_queue(reader: Association) -> None:
    """Triage is down here, which takes nothing from the priorities of peers."""
    for uid, priority, start in (
        ("1.2.6.1", "LOW", "20260101120000"),
        ("1.2.6.2", "MEDIUM", "20260101120100"),
        ("1.2.6.3", "HIGH", "20260101120300"),
        ("1.2.6.4", "HIGH", "20260101120200"),
        ("1.2.6.5", "HIGH", "20260101150000"),  # a bounded credit: nobody waits longer than that for it
    ):
        assert create(reader, uid, workitem(priority=priority, start=start, label="ORDER")) == 0x0000
    keys = {"WorklistLabel": "ORDER", "ScheduledProcedureStepPriority": ""}

    for sop_class in (PULL, WATCH, QUERY):
        answers, statuses = find(reader, sop_class=sop_class, **keys)
        assert [one.SOPInstanceUID[-1] for one in answers] == ["4", "3", "2", "5", "1"]
        assert set(statuses) == {0xFF00, 0x0000}
    assert find(reader, WorklistLabel="ORDER", Modality="")[1][0] == 0xFF01  # no attribute of a workitem
    with pytest.warns(UserWarning, match="Invalid value for VR DT"):
        assert find(reader, ScheduledProcedureStepStartDateTime="yesterday")[1] == [0xA900]


def test_who_may_do_what_is_in_the_settings(scp: Receiver, reader: Association) -> None:
    assert create(reader, "1.2.7.1") == 0x0000
    with ups_clients.association(scp.port, called=AE_TITLE, calling="STRANGER") as stranger:
        assert create(stranger, "1.2.7.2") == 0x0124
        assert find(stranger, ProcedureStepState="SCHEDULED") == ([], [0x0124])
        assert get(stranger, "1.2.7.1") == (0x0124, None)
        assert change_state(stranger, "1.2.7.1", "IN PROGRESS", MINE) == 0x0124
        assert ups_clients.subscribe(stranger, "WATCHER") == 0x0124
    with ups_clients.association(scp.port, called=AE_TITLE, calling="WATCHER") as watcher:
        assert found_uids(watcher, SOPInstanceUID="1.2.7.1") == ["1.2.7.1"]
        assert get(watcher, "1.2.7.1")[0] == 0x0000
        assert change_state(watcher, "1.2.7.1", "IN PROGRESS", MINE) == 0x0124
        assert set_values(watcher, "1.2.7.1", ProcedureStepLabel="x") == 0x0124
        assert ups_clients.ask_to_cancel(watcher, "1.2.7.1") == 0x0124
        assert ups_clients.subscribe(watcher, "WATCHER") == 0xC308  # nobody said where it is to be called
        action = watcher.send_n_action(items(ReceivingAE="WATCHER"), 9, PUSH, "1.2.7.1", meta_uid=WATCH)[0]
        assert action.Status == 0x0123
    assert recorded(scp, "1.2.7.1").state == "SCHEDULED"


@pytest.mark.parametrize("syntax", [ups_clients.EXPLICIT, ups_clients.IMPLICIT])
def test_names_come_back_as_they_were_sent_or_as_they_are_asked_for(scp: Receiver, syntax: str) -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    charset = ["", "ISO 2022 IR 87"]
    uid = f"1.2.8.{len(syntax)}"
    with ups_clients.association(scp.port, called=AE_TITLE, syntax=syntax) as reader:
        sent = workitem(PatientName=name, SpecificCharacterSet=charset, label=uid)
        assert create(reader, uid, sent) == 0x0000

        found = get(reader, uid)[1]
        assert found is not None
        assert (list(found.SpecificCharacterSet), str(found.PatientName)) == (charset, name)
        (answer,) = find(
            reader, SpecificCharacterSet="ISO_IR 192", PatientName="=山田*", WorklistLabel=uid, PatientID=""
        )[0]
        assert (answer.SpecificCharacterSet, str(answer.PatientName)) == ("ISO_IR 192", name)
        (plain,) = find(reader, WorklistLabel=uid, PatientID="")[0]
        assert "SpecificCharacterSet" not in plain  # nothing in it goes beyond ASCII
    assert recorded(scp, uid).attributes["00100010"]["Value"][0]["Phonetic"] == "やまだ^たろう"


def test_a_long_answer_ends_when_the_asker_cancels(scp: Receiver, reader: Association) -> None:
    assert create(reader, "1.2.10.1", workitem(label="MANY")) == 0x0000
    one = recorded(scp, "1.2.10.1")
    with closing(Records(scp.settings.node.state)) as records, records.write() as connection:
        for number in range(2, 2001):
            assert workitems.add(connection, replace(one, uid=f"1.2.10.{number}"))
    answers = 0
    statuses = []
    for status, found in reader.send_c_find(items(SOPInstanceUID="", WorklistLabel="MANY"), PULL, msg_id=7):
        statuses.append(status.Status)
        answers += found is not None
        if answers == 1:
            reader.send_c_cancel(7, query_model=PULL)
    assert statuses[-1] == 0xFE00
    assert answers < 2000
    assert get(reader, "1.2.10.2")[0] == 0x0000  # and the association goes on


def test_bytes_that_are_no_data_set_are_answered(scp: Receiver, reader: Association) -> None:
    stream = b"\x10\x00\x10\x00ZZ\xff\xff\xff\xff\xff\xff" * 3
    request = dimse_primitives.N_CREATE()
    request.MessageID, request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = 3, PUSH, "1.2.11.1"
    request.AttributeList = BytesIO(stream)
    context = next(one for one in reader.accepted_contexts if one.abstract_syntax == PUSH)
    reader._reactor_checkpoint.clear()
    while not reader._is_paused:
        time.sleep(0.01)
    reader.dimse.send_msg(request, context.context_id)
    answer = reader.dimse.get_msg(block=True)[1]
    reader._reactor_checkpoint.set()
    assert answer.Status == 0x0106
    assert create(reader, "1.2.11.2") == 0x0000


def test_what_a_peer_writes_keeps_to_the_rules(reader: Association) -> None:
    uid = "1.2.12.1"
    assert create(reader, uid) == 0x0000
    assert (
        set_values(reader, uid, ScheduledProcedureStepPriority="HIGH", CommentsOnTheScheduledProcedureStep="now") == 0
    )
    assert set_values(reader, uid, ScheduledProcedureStepPriority="SOON") == 0x0106
    assert set_values(reader, uid, ProcedureStepLabel="") == 0x0121
    assert set_values(reader, uid, Modality="CT", ProcedureStepLabel="Read this") == 0x0001
    assert set_values(reader, uid, ScheduledWorkitemCodeSequence=[items(CodeValue="1")]) == 0x0120
    found = get(reader, uid)[1]
    assert found is not None
    assert (found.ScheduledProcedureStepPriority, found.ProcedureStepLabel) == ("HIGH", "Read this")
    assert get(reader, uid, [0x00741204, 0x00081195, 0x00080060])[0] == 0x0001
    status, some = get(reader, uid, [0x00741204, 0x00741200])
    assert status == 0x0000
    assert some is not None
    assert [one.keyword for one in some] == ["ScheduledProcedureStepPriority", "ProcedureStepLabel"]


def test_every_attribute_of_types_1_and_2_is_there(reader: Association) -> None:
    """Table CC.2.5-3, also where the SCU left an attribute of type 2 out."""
    bare = items(
        **{
            keyword: workitem()[keyword].value
            for keyword in (
                "ScheduledProcedureStepPriority", "ProcedureStepLabel", "WorklistLabel", "InputReadinessState",
                "ScheduledProcedureStepStartDateTime", "ProcedureStepState",
            )
        },
        ReferencedRequestSequence=[items(StudyInstanceUID="1.2.3", AccessionNumber="A17")],
    )  # fmt: skip
    assert create(reader, "1.2.13.1", bare) == 0x0000

    found = get(reader, "1.2.13.1")[1]
    assert found is not None
    assert ups_clients.missing(found) == []
    del found.ScheduledProcedureStepPriority, found.PatientName, found.ReferencedRequestSequence[0].RequestedProcedureID
    assert ups_clients.missing(found) == [
        "ScheduledProcedureStepPriority", "PatientName", "ReferencedRequestSequence.RequestedProcedureID"
    ]  # fmt: skip
