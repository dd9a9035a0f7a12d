"""What no validator of the standard notices, our own assertions do: each is broken here once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import part10
from node.errors import Refuse
from node.worklist.objects import capture, checks, image_checks, keys, rejection, segment
from node.worklist.objects.rejection import Note, write_rejection
from node.worklist.objects.work import Work
from tests import dicom_phantom, triage_phantom
from tests.triage_phantom import not_analysable, raised

SHAPE = (4, 48, 40)
Change = Callable[[Dataset], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checks")


@pytest.fixture(scope="module")
def sources(folder: Path) -> list[str]:
    return dicom_phantom.series(folder / "in")


@pytest.fixture(scope="module")
def reply(folder: Path, sources: list[str]) -> dict[str, Any]:
    at = triage_phantom.maps(folder, SHAPE)
    forms = ("report", "capture", "keys", "segment")
    return triage_phantom.written(folder / "out", sources, raised(), *forms, maps_at=at)


@pytest.fixture(scope="module")
def work(folder: Path, sources: list[str]) -> Work:
    return Work.of(triage_phantom.request(folder / "out", sources, raised()))


def changed(reply: dict[str, Any], form: str, change: Change, at: int = 0) -> bytes:
    ds = pydicom.dcmread(triage_phantom.paths(reply, form)[at])
    change(ds)
    stream = BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


def group(ds: Dataset) -> Any:
    """The items of the measurement group."""
    return ds.ContentSequence[-1].ContentSequence[0].ContentSequence


def of(value: str) -> Callable[[Dataset], bool]:
    def found(item: Dataset) -> bool:
        return any(code.CodeValue == value for code in item.get("ConceptNameCodeSequence", []))

    return found


def item(ds: Dataset, value: str) -> Dataset:
    return next(filter(of(value), group(ds)))


def without(ds: Dataset, value: str) -> None:
    items = group(ds)
    del items[next(at for at, one in enumerate(items) if of(value)(one))]


def put(**values: Any) -> Change:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def set_code(ds: Dataset, value: str) -> None:
    item(ds, "TRIAGE_FLAG").ConceptCodeSequence[0].CodeValue = value


def set_meaning(ds: Dataset) -> None:
    item(ds, "TRIAGE_FLAG").ConceptCodeSequence[0].CodeMeaning = "Normal"


def set_score(ds: Dataset) -> None:
    item(ds, "ANOM_SCORE").MeasuredValueSequence[0].NumericValue = "0.1"


def drop_evidence(ds: Dataset) -> None:
    del ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]


def foreign_private(ds: Dataset) -> None:
    ds.private_block(0x0029, "OTHER", create=True).add_new(1, "LO", "x")


OF_A_REPORT: dict[str, Change] = {
    "its flag is not that": lambda ds: set_code(ds, "FLAG_NOT_RAISED"),
    "it says that something is normal": set_meaning,
    "its score is not that": set_score,
    "its score has another name": lambda ds: without(ds, "ANOM_SCORE"),
    "it does not refer to every source image": lambda ds: without(ds, "121112"),
    "its evidence is not the source images": drop_evidence,
    "its completion, preliminary": put(PreliminaryFlag="FINAL"),
    "its title is another": lambda ds: put(CodeValue="126001")(ds.ConceptNameCodeSequence[0]),
    "PatientName is not that": put(PatientName="Other^Name"),
    "AccessionNumber is not that": put(AccessionNumber="OTHER"),
    "the Modality is not that": put(Modality="CT"),
    "Instance Number is not 1": put(InstanceNumber=2),
    "Content Qualification": put(ContentQualification="PRODUCT"),
    "General Equipment does not name": put(Manufacturer="SCANNER WORKS"),
    "Contributing Equipment does not name": put(ContributingEquipmentSequence=[]),
    "Series Description is not": put(SeriesDescription="Head"),
    "the Series Instance UID is that of another": put(SeriesInstanceUID=dicom_phantom.SERIES),
    "is not ours": foreign_private,
}


@pytest.mark.parametrize("fault", OF_A_REPORT)
def test_a_fault_of_a_report_is_found(work: Work, reply: dict[str, Any], fault: str) -> None:
    job = work.form("report")
    assert checks.report(work, job, changed(reply, "report", lambda ds: None)) == []

    found = checks.report(work, job, changed(reply, "report", OF_A_REPORT[fault]))
    assert any(fault in one for one in found), found


OF_A_CAPTURE: dict[str, Change] = {
    "Conversion Type": put(ConversionType="DI"),
    "Burned In Annotation": put(BurnedInAnnotation="YES"),
    "not RGB": put(PhotometricInterpretation="YBR_FULL"),
    "Image Type": put(ImageType=["DERIVED", "SECONDARY", "OTHER"]),
    "Source Image Sequence does not name": put(SourceImageSequence=[]),
    "Referenced Series Sequence": put(ReferencedSeriesSequence=[]),
}


@pytest.mark.parametrize("fault", OF_A_CAPTURE)
def test_a_fault_of_a_capture_is_found(work: Work, reply: dict[str, Any], fault: str) -> None:
    job = replace(work.form("capture"), image_type=capture.IMAGE_TYPE)

    def said(change: Change) -> list[str]:
        written = part10.parse(changed(reply, "capture", change, at=1))
        return image_checks.capture(job, written, work.slices, [work.slices[1]], index=2)

    assert said(lambda ds: None) == []
    assert any(fault in one for one in said(OF_A_CAPTURE[fault]))


OF_A_SEGMENT: dict[str, Change] = {
    "Image Type": put(ImageType=["DERIVED", "SECONDARY"]),
    "FrameOfReferenceUID": put(FrameOfReferenceUID="1.2.3"),
    "one bit": put(SegmentationType="FRACTIONAL"),
    "not one segment": put(SegmentSequence=[]),
    "does not list every source": put(ReferencedSeriesSequence=[]),
    "does not lie where its source does": lambda ds: put(ImagePositionPatient=[0, 0, 0])(
        ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    ),
    "frames are described": put(NumberOfFrames=3),
}


@pytest.mark.parametrize("fault", OF_A_SEGMENT)
def test_a_fault_of_a_segmentation_is_found(work: Work, reply: dict[str, Any], fault: str) -> None:
    job = replace(work.form("segment"), image_type=segment.IMAGE_TYPE)

    def said(change: Change) -> Iterator[str]:
        try:
            yield from image_checks.segment(job, part10.parse(changed(reply, "segment", change)), work.slices)
        except Refuse as refused:
            yield refused.message

    assert list(said(lambda ds: None)) == []
    assert any(fault in one for one in said(OF_A_SEGMENT[fault]))


def test_faults_of_key_objects_are_found(work: Work, reply: dict[str, Any]) -> None:
    job, wanted = work.form("keys"), [("1.2.3", "1.2.3.4", 0)]
    named = [
        (one["sop_class_uid"], one["sop_instance_uid"], 0) for one in reply["instances"] if one["form"] == "capture"
    ] + [(work.headers[2].sop_class_uid, work.headers[2].sop_instance_uid, 0)]
    written = changed(reply, "keys", lambda ds: None)

    assert checks.keys(job, written, named, work.headers) == []
    assert "it does not refer to what it has to" in checks.keys(job, written, wanted, work.headers)
    other = changed(reply, "keys", lambda ds: put(CodeValue="113001")(ds.ConceptNameCodeSequence[0]))
    assert "its title is another" in checks.keys(job, other, named, work.headers)


def test_key_objects_need_something_to_point_at(work: Work) -> None:
    with pytest.raises(Refuse, match="need a capture"):
        keys.keys(work, [])


def note(folder: Path, reply: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (one,) = [one for one in reply["instances"] if one["form"] == "report"]
    withdrawn = {
        "sop_class_uid": one["sop_class_uid"],
        "sop_instance_uid": one["sop_instance_uid"],
        "series_instance_uid": reply["series_instance_uids"]["report"],
    }
    return {
        "object": one["path"],
        "code": "113001",
        "reason": "The source was corrected.",
        "instances": [withdrawn],
        "at": "2026-03-04T06:00:00+01:00",
        "series_number": 4053,
        "job": triage_phantom.job(),
        "out": str(folder / "note"),
    } | changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "113000"}, "no title of a rejection note"),
        ({"reason": "Größe"}, "ASCII text"),
        ({"instances": []}, "at least one object"),
        ({"at": "2026-03-04T06:00:00"}, "no UTC offset"),
        ({"at": "yesterday"}, "no ISO time"),
        ({"instances": [{"sop_class_uid": "1.2", "sop_instance_uid": "../x", "series_instance_uid": "1.2"}]}, "UIDs"),
        ({"job": triage_phantom.job(weights_sha256="cd" * 32)}, "does not name the network"),
    ],
)
def test_what_is_no_rejection_is_refused(
    folder: Path, reply: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refuse, match=message):
        write_rejection(note(folder, reply, **change))


def test_another_reason_or_another_object_is_another_note(folder: Path, reply: dict[str, Any]) -> None:
    first = Note.of(note(folder, reply))
    assert first.uid("1.2") == Note.of(note(folder, reply)).uid("1.2")
    assert first.uid("1.2") != Note.of(note(folder, reply, reason="The patient was another.")).uid("1.2")
    assert first.uid("1.2") != Note.of(note(folder, reply, code="113037")).uid("1.2")
    assert rejection.FILE_NAME == "rejection.dcm"


def test_not_analysable_has_no_images(folder: Path, sources: list[str]) -> None:
    at = triage_phantom.maps(folder, SHAPE)
    with pytest.raises(Refuse, match="was not analysed"):
        triage_phantom.written(folder / "none", sources, not_analysable(), "report", "map", maps_at=at)
