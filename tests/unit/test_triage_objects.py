"""The report of a triage: what it says, for every flag, of whom, and that it says the same every time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import codes, triage_codes
from node.errors import Refuse
from node.worklist.objects import report as writer
from node.worklist.objects.write import write_objects
from pipelines.triage import Assessment
from tests import dicom_phantom, triage_phantom
from tests.triage_phantom import REASONS, not_analysable, not_raised, raised

ASSESSMENTS: dict[str, Callable[[], Assessment]] = {
    "FLAG_RAISED": raised,
    "FLAG_NOT_RAISED": not_raised,
    "NOT_ANALYSABLE": not_analysable,
}
NAMES = {
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 192": "Wang^XiaoDong=王^小東",
    ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ("", "ISO 2022 IR 149"): "Hong^Gildong=洪^吉洞=홍^길동",
    None: "Doe^Jane",
}


def read_back(path: str) -> Any:
    """The measurement group as highdicom reads it."""
    document = highdicom.sr.srread(path)
    (group,) = document.content.get_image_measurement_groups()
    return document, group


@pytest.mark.parametrize("flag", ASSESSMENTS)
def test_a_report_reads_back_what_the_assessment_says(tmp_path: Path, flag: str) -> None:
    assessed = ASSESSMENTS[flag]()
    sources = dicom_phantom.series(tmp_path / "in")
    reply = triage_phantom.written(tmp_path / "out", sources, assessed)
    document, group = read_back(reply["instances"][0]["path"])

    (said,) = group.get_qualitative_evaluations(name=writer.concept(triage_codes.TRIAGE_FLAG))
    assert said.value.value == flag
    scores = {one.name.value: one.value for one in group.get_measurements()}
    assert scores == (
        {} if assessed.score is None else dict.fromkeys(("ANOM_SCORE", "122157"), round(assessed.score, 6))
    )
    assert group.tracking_identifier == "head_ct_triage 1.0.0 efefefefefef"
    assert group.tracking_uid.startswith("2.25.")
    assert group.finding_type.value == "ANOM_TRIAGE"
    assert [site.value.value for site in group.finding_sites] == ["69536005"]
    assert {one.referenced_sop_instance_uid for one in group.source_images} == {
        str(pydicom.dcmread(path).SOPInstanceUID) for path in sources
    }
    assert (document.CompletionFlag, document.PreliminaryFlag, document.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert reply["report_uid"] == document.SOPInstanceUID == reply["instances"][0]["sop_instance_uid"]


def texts(item: Dataset) -> list[str]:
    found = [str(item.TextValue)] if "TextValue" in item else []
    return found + [text for child in item.get("ContentSequence", []) for text in texts(child)]


def test_algorithm_threshold_weights_and_reasons_stand_in_it(tmp_path: Path) -> None:
    sources = dicom_phantom.series(tmp_path / "in")
    reply = triage_phantom.written(tmp_path / "out", sources, not_analysable())
    said = texts(pydicom.dcmread(reply["instances"][0]["path"]))

    assert {"head_ct_triage", "1.0.0", "threshold=0.5", f"weights=sha256:{'ab' * 32}", *REASONS} <= set(said)


def test_a_score_that_is_not_calibrated_is_no_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CALIBRATED", False)
    reply = triage_phantom.written(tmp_path / "out", dicom_phantom.series(tmp_path / "in"), raised())
    _, group = read_back(reply["instances"][0]["path"])

    assert [one.name.value for one in group.get_measurements()] == ["ANOM_SCORE"]


@pytest.mark.parametrize("flag", ASSESSMENTS)
def test_no_report_calls_anything_normal(tmp_path: Path, flag: str) -> None:
    reply = triage_phantom.written(tmp_path / "out", dicom_phantom.series(tmp_path / "in"), ASSESSMENTS[flag]())
    document = pydicom.dcmread(reply["instances"][0]["path"])

    words = (
        json.dumps(document.to_json_dict()).casefold().replace("suspected abnormality", "")
    )  # the flag: DICOM_SPEC 3.3
    assert "normal" not in words


@pytest.mark.parametrize(("flag", "synthetic"), [("FLAG_RAISED", "YES"), ("NOT_ANALYSABLE", "NO")])
def test_labels_are_those_of_a_result_of_ours(tmp_path: Path, flag: str, synthetic: str) -> None:
    sources = dicom_phantom.series(tmp_path / "in", dicom_phantom.everything)
    reply = triage_phantom.written(tmp_path / "out", sources, ASSESSMENTS[flag]())
    said, source = pydicom.dcmread(reply["instances"][0]["path"]), pydicom.dcmread(sources[0])

    assert said[0x0008001C].value in (synthetic, synthetic.encode())
    assert (said.ContentQualification, said.Manufacturer, said.DeviceUID) == (
        "RESEARCH",
        codes.VENDOR,
        codes.DEVICE_UID,
    )
    assert (said.SeriesNumber, said.SeriesDescription) == (4051, "AI TRIAGE REPORT - NOT FOR DIAGNOSIS")
    purposes = [one.PurposeOfReferenceCodeSequence[0].CodeValue for one in said.ContributingEquipmentSequence]
    assert purposes == ["109101", "109102"]
    network = said.ContributingEquipmentSequence[-1]
    assert list(network.SoftwareVersions) == ["1.0.0", f"sha256:{'ab' * 10}"]
    assert said[0x0099, 0x1001].value in ("ab" * 32, ("ab" * 32).encode())
    assert (said.ContentDate, said.ContentTime, said.SeriesDate) == ("20260304", "050607", "20260304")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDescription"):
        assert said[keyword].value == source[keyword].value
    assert "ReferencedPerformedProcedureStepSequence" in said
    assert not said.ReferencedPerformedProcedureStepSequence
    assert not [element.tag for element in said if element.tag.group == 0x0029]


@pytest.mark.parametrize("charset", NAMES, ids=str)
def test_a_name_in_any_character_set_passes_as_the_bytes_that_came(tmp_path: Path, charset: Any) -> None:
    def named(ds: Dataset, index: int) -> None:
        ds.SeriesDescription = "Head"
        if charset is None:
            del ds.SpecificCharacterSet
        else:
            ds.SpecificCharacterSet = list(charset) if isinstance(charset, tuple) else charset
        ds.PatientName = NAMES[charset]

    sources = dicom_phantom.series(tmp_path / "in", named)
    reply = triage_phantom.written(tmp_path / "out", sources, raised())
    said, source = pydicom.dcmread(reply["instances"][0]["path"]), pydicom.dcmread(sources[0])

    assert said.get_item("PatientName").value == source.get_item("PatientName").value
    assert str(said.PatientName) == NAMES[charset]
    assert said.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    sources = dicom_phantom.series(tmp_path / "in")
    first, second = (triage_phantom.written(tmp_path / name, sources, raised()) for name in "ab")

    assert [one["sha256"] for one in first["instances"]] == [one["sha256"] for one in second["instances"]]
    other = triage_phantom.written(tmp_path / "c", sources, raised(), weights_sha256="cd" * 32)
    assert other["report_uid"] != first["report_uid"]


def test_a_report_needs_no_pixel_of_its_sources(tmp_path: Path) -> None:
    def cut(ds: Dataset, index: int) -> None:
        ds.PixelData = ds.PixelData[:10]

    sources = dicom_phantom.series(tmp_path / "in", cut)
    reply = triage_phantom.written(tmp_path / "out", sources, not_analysable())

    assert read_back(reply["instances"][0]["path"])[1] is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": ["capture"]}, "a report is always one"),
        ({"objects": ["report", "film"]}, "no objects of a triage"),
        ({"sources": []}, "4 frames are named for 0 sources"),
    ],
)
def test_what_is_no_request_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made = triage_phantom.request(tmp_path / "out", dicom_phantom.series(tmp_path / "in"), raised())
    with pytest.raises(Refuse, match=message):
        write_objects({**made, **change})


def test_a_source_of_another_study_is_refused(tmp_path: Path) -> None:
    def other(ds: Dataset, index: int) -> None:
        ds.StudyInstanceUID = f"{dicom_phantom.STUDY}.{index % 2}"

    with pytest.raises(Refuse, match="2 values of StudyInstanceUID"):
        triage_phantom.written(tmp_path / "out", dicom_phantom.series(tmp_path / "in", other), raised())


def test_a_report_that_breaks_an_assertion_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_measurements", lambda score: [])
    with pytest.raises(Refuse, match="its score is not that of the assessment"):
        triage_phantom.written(tmp_path / "out", dicom_phantom.series(tmp_path / "in"), raised())
    assert not list((tmp_path / "out").glob("*.dcm"))
