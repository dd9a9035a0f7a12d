"""Head CTs through a running node with the network that ships: report, flag, worklist, and all of it taken back.

The heads are painted by other means than those that the network was trained with (`head_ct.py`).
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from node.demo.ct_series import uid
from node.records import notices, triages
from tests import dicom_lint, head_ct, ups_clients
from tests.head_ct import Bleeding
from tests.mllp_peer import MllpPeer, answers, parsed
from tests.peers import Orthanc, run_tool, storescu, wait_until, which_or_skip
from tests.running_node import AE_TITLE, RunningNode, settings_for

REPORT, CAPTURE, KEYS = (
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.88.59",
)
RULE = {"name": "head", "pipeline": "head-ct-triage", "where": {"Modality": "CT", "BodyPartExamined": "HEAD"}}
NAMES = ("quiet", "bleeding", "truncated")


@dataclass(kw_only=True)
class Hospital:
    """The node and everybody around it. `sent`: name of a head -> its files"""

    node: RunningNode
    archive: Orthanc
    ris: MllpPeer
    sent: dict[str, list[Path]] = field(default_factory=dict)

    def study(self, name: str) -> str:
        return str(pydicom.dcmread(self.sent[name][0], stop_before_pixels=True).StudyInstanceUID)

    def verdict(self, name: str) -> dict[str, Any]:
        with closing(self.node.records()) as records, records.read() as connection:
            (found,) = triages.of_study(connection, self.study(name))
        return found

    def told(self, name: str) -> list[Any]:
        """The messages that the RIS took of a study."""
        found = [parsed(message) for message in self.ris.received]
        return [one for one in found if observed(one, "113014") == self.study(name)]

    def archived(self, name: str) -> dict[str, list[Dataset]]:
        """SOP class -> what the archive holds of a study beside its images."""
        made: dict[str, list[Dataset]] = {}
        for one in self.archive.get("instances?expand"):
            data_set = pydicom.dcmread(pydicom.filebase.DicomBytesIO(self.archive.download(one["ID"])))
            if data_set.StudyInstanceUID == self.study(name):
                made.setdefault(str(data_set.SOPClassUID), []).append(data_set)
        return made

    def worklist(self) -> list[Dataset]:
        with ups_clients.association(self.node.port, called=AE_TITLE, calling="READER") as opened:
            found, _ = ups_clients.find(
                opened,
                StudyInstanceUID="",
                ScheduledProcedureStepPriority="",
                ProcedureStepLabel="",
                ProcedureStepState="SCHEDULED",
            )
        return found


def observed(message: Any, code: str) -> str:
    """OBX-5 of the observation with this code."""
    (found,) = [one for one in message.segments("OBX") if str(one[3]).split("^")[0] == code]
    return str(found[5])


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    which_or_skip("storescu")
    heads = {
        "quiet": head_ct.paint(4),
        "bleeding": head_ct.paint(4, bleeding=[Bleeding()], seed=2),
        "truncated": head_ct.paint(4, slices=20, seed=3),  # the scan ends at the temples: nobody can tell
    }
    with ExitStack() as stack:
        ris = stack.enter_context(MllpPeer(answers("AA", "stored")))
        archive = stack.enter_context(Orthanc(folder / "archive"))
        raw = settings_for(folder, destinations=[archive], rules=[RULE])
        raw["peers"].append({"name": "reader", "ae_title": "READER", "addresses": ["127.0.0.0/8"]})
        raw["worklist"] = {
            "ups": {"claim": ["READER"]},
            "hl7": [{"name": "ris", "host": "127.0.0.1", "port": ris.port, "receiving_application": "RIS"}],
        }
        node = stack.enter_context(RunningNode(folder, raw))
        found = Hospital(node=node, archive=archive, ris=ris)
        for name in NAMES:
            found.sent[name] = head_ct.write(folder / "scans" / name, heads[name], key=name)
            (sent,) = storescu(node.port, found.sent[name], called=AE_TITLE)
            assert sent.stored == len(found.sent[name])
        node.wait_settled(len(NAMES), timeout_s=240)
        yield found


def test_each_head_gets_the_verdict_that_it_deserves(hospital: Hospital) -> None:
    found = {name: hospital.verdict(name) for name in NAMES}

    assert {name: row["flag"] for name, row in found.items()} == {
        "quiet": "FLAG_NOT_RAISED", "bleeding": "FLAG_RAISED", "truncated": "NOT_ANALYSABLE",
    }, json.dumps({name: [row["score"], row["reasons"]] for name, row in found.items()})  # fmt: skip
    assert found["truncated"]["reasons"]


def test_the_archive_holds_a_report_of_all_and_capture_and_key_objects_of_the_flag(hospital: Hospital) -> None:
    wanted = {"quiet": {REPORT}, "bleeding": {REPORT, CAPTURE, KEYS}, "truncated": {REPORT}}

    found = {name: hospital.archived(name) for name in NAMES}

    assert {name: set(made) for name, made in found.items()} == wanted
    for made in found.values():
        for data_set in (one for some in made.values() for one in some):
            assert data_set["ContentQualification"].value == "RESEARCH"
            assert data_set.PatientID == "TEST-HEAD"


@pytest.mark.skipif(bool(dicom_lint.missing_tools()), reason="dicom3tools is not installed")
def test_the_validators_find_nothing_and_dsrdump_reads_the_report(hospital: Hospital, tmp_path: Path) -> None:
    for name in NAMES:
        written = []
        for number, one in enumerate(x for some in hospital.archived(name).values() for x in some):
            written.append(tmp_path / f"{name}-{number}.dcm")
            one.save_as(written[-1], enforce_file_format=True)
            assert dicom_lint.lint(written[-1], hospital.sent[name][0]) == []
            if one.SOPClassUID == REPORT:
                flag = hospital.verdict(name)["flag"]
                assert flag in run_tool("dsrdump", "+Pc", written[-1])
        assert dicom_lint.entities([*hospital.sent[name], *written]) == []


def test_the_ris_is_told_once_and_its_acknowledgement_is_on_record(hospital: Hospital) -> None:
    wait_until("the RIS has both", lambda: len(hospital.ris.processed) >= 2, timeout_s=60)

    assert [len(hospital.told(name)) for name in NAMES] == [0, 1, 1]
    (message,) = hospital.told("bleeding")
    assert str(message.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    assert str(message.segments("OBX")[0][5]).startswith("FLAG_RAISED")
    assert observed(message, "SR_UID") == hospital.verdict("bleeding")["report_uid"]
    with closing(hospital.node.records()) as records, records.read() as connection:
        (row,) = notices.of_job(connection, hospital.verdict("bleeding")["job_id"])
    assert (row["state"], row["delivered_at"] is not None) == ("delivered", True)
    assert "stored" in row["answer"]


def test_the_worklist_has_what_nobody_could_analyse_first_then_the_flag(hospital: Hospital) -> None:
    found = [(one.StudyInstanceUID, one.ScheduledProcedureStepPriority) for one in hospital.worklist()]

    assert found == [
        (hospital.study("truncated"), "MEDIUM"),
        (hospital.study("bleeding"), "HIGH"),
        (hospital.study("quiet"), "MEDIUM"),
    ]


def test_the_figures_say_what_happened(hospital: Hospital) -> None:
    text = hospital.node.metrics()

    for flag in ("FLAG_RAISED", "FLAG_NOT_RAISED", "NOT_ANALYSABLE"):
        assert f'imaging_node_triage_verdicts_total{{flag="{flag}",scanner="other"}} 1.0' in text
    assert 'imaging_node_triage_flag_to_acknowledgement_seconds_count{channel="ris"} 2.0' in text


def test_images_that_are_taken_back_take_the_flag_back_everywhere(hospital: Hospital, tmp_path: Path) -> None:
    images = [pydicom.dcmread(path) for path in hospital.sent["bleeding"]]
    note = tmp_path / "note.dcm"
    reject(images[:3], codes.DCM.RejectedForPatientSafetyReasons).save_as(note, enforce_file_format=True)

    (sent,) = storescu(hospital.node.port, [note], called=AE_TITLE)

    assert sent.stored == 1
    wait_until("the RIS is told", lambda: len(hospital.told("bleeding")) == 2, timeout_s=60)
    withdrawn = hospital.told("bleeding")[1]
    assert str(withdrawn.segments("OBX")[0][11]) == "W"
    assert hospital.verdict("bleeding")["withdrawn_at"] is not None
    wait_until("the archive has our note", lambda: len(hospital.archived("bleeding")[KEYS]) == 2, timeout_s=60)
    ours = max(hospital.archived("bleeding")[KEYS], key=lambda one: int(one.SeriesNumber))
    assert ours.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert dicom_lint.missing_tools() or lint_of(ours, tmp_path, hospital.sent["bleeding"][0]) == []
    order = {one.StudyInstanceUID: one.ScheduledProcedureStepPriority for one in hospital.worklist()}
    assert order[hospital.study("bleeding")] == "MEDIUM"


def lint_of(data_set: Dataset, folder: Path, source: Path) -> list[str]:
    path = folder / "linted.dcm"
    data_set.save_as(path, enforce_file_format=True)
    return dicom_lint.lint(path, source)


def reject(images: list[pydicom.FileDataset], title: Any) -> KeyObjectSelectionDocument:
    """The note by which an archive takes images back (IHE IOCM), as another product writes it."""
    content = KeyObjectSelection(document_title=title, referenced_objects=images)
    return KeyObjectSelectionDocument(
        evidence=images,
        content=content,
        series_instance_uid=uid("note", "series"),
        series_number=900,
        sop_instance_uid=uid("note", "instance"),
        instance_number=1,
        manufacturer="ARCHIVE",
        institution_name=None,
        institutional_department_name=None,
    )
