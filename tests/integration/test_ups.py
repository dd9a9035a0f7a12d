"""The worklist over real associations: create, find, claim, report, end (PS3.4 annex CC)."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from pynetdicom.association import Association

from node.records import workitems
from node.records.database import Records
from node.records.workitems import Item
from node.worklist.ups_status import PUSH
from tests import ups_clients
from tests.hostile import Receiver
from tests.running_node import AE_TITLE, settings_for
from tests.ups_clients import change_state, create, found_uids, get, items, performed, set_values, workitem

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
