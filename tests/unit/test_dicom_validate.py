"""The last check: what no validator of the standard notices is found in the bytes before they get their name."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import decode, derive, part10, validate
from node.dicom.job import Job
from node.dicom.source_slices import Source
from tests.dicom_phantom import ROOT, item, job, series

Case = tuple[list[Source], bytes]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    sources = series(folder / "in")
    decode.prepare_series(
        {"slices": [[path, 0] for path in sources], "voxels": f"{folder}/v.npy", "padding": f"{folder}/p.npy"}
    )
    reply = derive.write_series({"sources": sources, "result": f"{folder}/v.npy", "out": f"{folder}/out", "job": job()})
    return [Source.of(part10.read(path)) for path in sources], Path(reply["instances"][0]["path"]).read_bytes()


def violations(case: Case, spoil: Callable[[Dataset], None] | None = None) -> list[str]:
    sources, data = case
    if spoil:
        ds = pydicom.dcmread(BytesIO(data))
        spoil(ds)
        stream = BytesIO()
        ds.save_as(stream)
        data = stream.getvalue()
    return validate.Series(job=Job.of(job()), sources=sources).image(part10.parse(data), 1)


def test_what_was_written_holds_every_assertion(case: Case) -> None:
    assert violations(case) == []


def setting(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def private(ds: Dataset) -> None:
    ds.private_block(0x0029, "FOREIGN", create=True).add_new(1, "LO", "x")


def foreign_source(ds: Dataset) -> None:
    ds.SourceImageSequence.append(item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.3"))


def wrong_purpose(ds: Dataset) -> None:
    ds.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue = "121320"


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (setting("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL", "AI_DENOISE"]), "Image Type is ORIGINAL/PRIMARY"),
        (setting("SyntheticData", "YES"), "Synthetic Data is not what the job says"),
        (setting("ContentQualification", ""), "Content Qualification has no defined value"),
        (setting("SeriesDescription", "Head"), "Series Description does not open with the marker"),
        (setting("Manufacturer", "SCANNER WORKS"), "General Equipment does not name the node"),
        (setting("LossyImageCompression", "01"), "Lossy Image Compression is 01 without ratio and method"),
        (setting("PatientID", "OTHER"), "PatientID is not that of the source"),
        (setting("StudyInstanceUID", "1.2"), "StudyInstanceUID is not that of the source"),
        (setting("ImagePositionPatient", [0, 0, 0]), "ImagePositionPatient is not that of the source"),
        (setting("ContrastBolusAgent", "AGENT"), "ContrastBolusAgent is not that of the source"),
        (setting("SeriesInstanceUID", f"{ROOT}.2"), "the Series Instance UID is that of the source"),
        (lambda ds: ds.add_new(0x00280106, "US", 0), "(0028,0106) is left over from the source"),
        (setting("OperatorsName", "A^B"), "(0008,1070) is left over from the source"),
        (setting("PerformedProcedureStepID", "1"), "(0040,0253) is left over from the source"),
        (setting("InstanceNumber", 2), "Instance Number is not 1"),
        (setting("SourceImageSequence", []), "the first source image is not the slice in its place"),
        (setting("ReferencedSeriesSequence", []), "Referenced Series Sequence does not list every source"),
        (foreign_source, "a source image is not one of the sources"),
        (wrong_purpose, "the purpose of a source image is not 121322"),
        (private, "the private element (0029,0010) is not ours"),
    ],
)
def test_a_violation_is_named(case: Case, spoil: Callable[[Dataset], None], found: str) -> None:
    assert any(violation.startswith(found) for violation in violations(case, spoil))


def test_no_violation_names_a_patient(case: Case) -> None:
    assert not any("SECRET" in violation for violation in violations(case, setting("PatientName", "SECRET")))
