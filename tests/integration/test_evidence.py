"""Procedure steps and availability notifications over real associations: answered when kept, as PS3.4 says."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from node.child import Child
from node.demo.phantom import make_series
from node.peers.dimse import evidence as dimse_evidence
from node.records import evidence
from node.records.database import Records, migrate
from node.records.evidence import Claim, Evidence
from tests import notices, senders
from tests.peers import HOST, free_port, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for

STUDY, STEP, NOTICE = "1.2.1", "1.2.9.1", "1.2.9.2"
FIRST, SECOND = "1.2.2", "1.2.3"
NAMED = {FIRST: ["1.2.2.1", "1.2.2.2"], SECOND: ["1.2.3.1"]}


@dataclass
class Scp:
    """The service on a listener of its own."""

    port: int
    records: Records

    def said(self, series_uid: str) -> list[Evidence]:
        with self.records.read() as connection:
            return evidence.of_series(connection, series_uid)


@pytest.fixture
def scp(tmp_path: Path) -> Iterator[Scp]:
    migrate(tmp_path)
    port = free_port()
    with closing(Records(tmp_path)) as records, closing(Child(memory_mb=2048, seconds=30)) as child:
        service = dimse_evidence.service(records, child, believed={"OTHER"}, clock=lambda: 5.0)
        ae = AE(ae_title="NODE")
        for context in service.contexts:
            ae.add_supported_context(context.abstract_syntax, list(context.transfer_syntaxes))
        server = ae.start_server((HOST, port), block=False, evt_handlers=list(service.handlers))
        yield Scp(port=port, records=records)
        server.shutdown()


def test_a_step_is_kept_from_its_beginning_to_the_list_of_what_it_made(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as scanner:
        assert notices.create_step(scanner, STEP, study_uid=STUDY).status == 0x0000
        assert scp.said(FIRST) == []
        assert notices.set_step(scanner, STEP, "COMPLETED", NAMED).status == 0x0000

        (said,) = scp.said(FIRST)
        assert (said.claim, said.named, said.study_uid) == (Claim.COMPLETED, ("1.2.2.1", "1.2.2.2"), STUDY)
        assert [one.instances for one in scp.said(SECOND)] == [1]


def test_the_last_message_of_a_step_may_leave_out_what_an_earlier_one_named(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as scanner:
        notices.create_step(scanner, STEP, study_uid=STUDY)
        notices.set_step(scanner, STEP, None, NAMED)
        assert [one.claim for one in scp.said(FIRST)] == [Claim.IN_PROGRESS]

        bare = Dataset()
        bare.PerformedProcedureStepStatus = "DISCONTINUED"
        answer, _ = scanner.send_n_set(bare, notices.MPPS, STEP)
        assert answer.Status == 0x0000
        assert [(one.claim, one.instances) for one in scp.said(FIRST)] == [(Claim.DISCONTINUED, 2)]


def test_a_step_that_is_over_stays_as_it_is(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as scanner:
        notices.create_step(scanner, STEP, study_uid=STUDY)
        notices.set_step(scanner, STEP, "COMPLETED", NAMED)

        answer = notices.set_step(scanner, STEP, "DISCONTINUED", {FIRST: ["1.2.2.7"]})
        assert (answer.status, answer.error_id) == (0x0110, 0xA710)  # PS3.4 F.7.2.2.3
        assert [one.claim for one in scp.said(FIRST)] == [Claim.COMPLETED]


def test_faults_are_answered_with_the_status_of_the_standard(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as scanner:
        assert notices.set_step(scanner, STEP, "COMPLETED", NAMED).status == 0x0112  # never created
        assert notices.create_step(scanner, STEP, study_uid=STUDY, status="COMPLETED").status == 0x0106
        assert notices.create_step(scanner, STEP, study_uid=STUDY).status == 0x0000
        assert notices.create_step(scanner, STEP, study_uid=STUDY).status == 0x0111
        assert notices.set_step(scanner, STEP, "FINISHED", NAMED).status == 0x0106
        with pytest.warns(UserWarning, match="Invalid value for VR UI"):  # from the sender's pydicom
            evil = notices.set_step(scanner, STEP, "COMPLETED", {"../../evil": ["1.2.3"]})
        assert evil.status == 0x0106
        assert scanner.send_n_create(None, notices.MPPS, "1.2.9.7")[0].Status == 0x0120
    assert scp.said(FIRST) == []


def test_a_peer_that_is_not_believed_is_told_so(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE", calling="STRANGER") as stranger:
        assert notices.create_step(stranger, STEP, study_uid=STUDY).status == 0x0124
        assert notices.notify(stranger, NOTICE, study_uid=STUDY, named=NAMED).status == 0x0124
    assert scp.said(FIRST) == []


def test_a_notification_names_what_is_available_and_nothing_else(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as archive:
        assert notices.notify(archive, NOTICE, study_uid=STUDY, named=NAMED).status == 0x0000
        assert notices.notify(archive, NOTICE, study_uid=STUDY, named=NAMED).status == 0x0000  # the answer was lost
        gone = {FIRST: ["1.2.2.3"]}
        assert notices.notify(archive, "1.2.9.3", study_uid=STUDY, named=gone, availability="UNAVAILABLE").status == 0

    assert [one.named for one in scp.said(FIRST)] == [("1.2.2.1", "1.2.2.2")]


def test_objects_of_classes_that_never_come_here_are_not_waited_for(scp: Scp) -> None:
    with notices.association(scp.port, called="NODE") as scanner:
        notices.create_step(scanner, STEP, study_uid=STUDY)
        dose_screen = notices.step("COMPLETED", {FIRST: ["1.2.2.9"]}, sop_class="1.2.840.10008.5.1.4.1.1.7")
        assert scanner.send_n_set(dose_screen, notices.MPPS, STEP)[0].Status == 0x0000

    assert scp.said(FIRST) == []


def test_what_breaks_the_parser_ends_in_an_answer(scp: Scp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse_evidence, "MAXIMUM_BYTES", 64)
    with notices.association(scp.port, called="NODE") as scanner:
        assert notices.notify(scanner, NOTICE, study_uid=STUDY, named=NAMED).status == 0x0213


def test_a_running_node_takes_a_series_when_all_that_was_named_is_here(tmp_path: Path) -> None:
    """The association stays open and the slices have a gap: without the scanner's word the node would wait a minute."""
    files = make_series(tmp_path / "scan", slices=6)
    sent = [*files[:2], *files[3:]]
    heads = [pydicom.dcmread(path, stop_before_pixels=True) for path in sent]
    series, study = str(heads[0].SeriesInstanceUID), str(heads[0].StudyInstanceUID)
    raw = settings_for(tmp_path, assemble={"quiet_s": 600.0})
    raw["peers"] = [{**peer, "evidence": peer["ae_title"] == "OTHER"} for peer in raw["peers"]]
    with RunningNode(tmp_path, raw) as node:
        opened = senders.associate(node.port, sent, called=AE_TITLE)
        with notices.association(node.port, called=AE_TITLE) as scanner:
            assert notices.create_step(scanner, STEP, study_uid=study).status == 0x0000
            for path in sent[:-1]:
                assert senders.store(opened, path) == 0x0000
            named = {series: [str(head.SOPInstanceUID) for head in heads]}
            assert notices.set_step(scanner, STEP, "COMPLETED", named).status == 0x0000
            wait_until(
                "it waits", lambda: "mpps names 5 instances, 4 are here" in (node.show(series)["waits_for"] or "")
            )
            assert senders.store(opened, sent[-1]) == 0x0000
            wait_until("it is complete", lambda: node.show(series)["sets"], timeout_s=30)
        opened.release()
        assert node.show(series)["sets"][0]["evidence"] == "mpps names 5 instances, all are here"
        with notices.association(node.port, called=AE_TITLE, calling="STORESCU") as stranger:
            assert notices.create_step(stranger, "1.2.9.8", study_uid=study).status == 0x0124
