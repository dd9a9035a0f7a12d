"""The last check of an enhanced object: what no validator notices is found in the bytes before they get their name."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from node.dicom import enhanced_checks, part10, source_slices
from node.dicom.job import Job
from tests.derived_frames import derived
from tests.dicom_phantom import item, job
from tests.enhanced_phantom import SERIES, enhanced
from tests.unit.test_dicom_enhanced import one


def put(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def in_frame(sequence: str, keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds.PerFrameFunctionalGroupsSequence[1][sequence].value[0], keyword, value)


def foreign_reference(ds: Dataset) -> None:
    derivation = ds.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0]
    derivation.SourceImageSequence.append(item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.3"))


def private_group(ds: Dataset) -> None:
    block = ds.SharedFunctionalGroupsSequence[0].private_block(0x0029, "FOREIGN", create=True)
    block.add_new(1, "LO", "x")


def one_frame_less(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[-1]
    ds.NumberOfFrames = 5


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda ds: None, None),
        (put("ImageType", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]), "Image Type is ORIGINAL"),
        (put("ImageType", ["DERIVED", "SECONDARY", "VOLUME", "NONE"]), "Image Type is not that of an Enhanced object"),
        (put("SyntheticData", "YES"), "Synthetic Data is not what the job says"),
        (put("ContentQualification", ""), "Content Qualification has no defined value"),
        (put("PatientID", "OTHER"), "PatientID is not that of the source"),
        (put("SeriesInstanceUID", SERIES), "the Series Instance UID is that of another series"),
        (put("PixelPresentation", "COLOR"), "Pixel Presentation is not MONOCHROME"),
        (put("SourceImageEvidenceSequence", []), "Source Image Evidence Sequence does not list the sources"),
        (put("OperatorsName", "A^B"), "(0008,1070) is left over"),
        (lambda ds: ds.add_new(0x00280106, "US", 0), "(0028,0106) is left over"),
        (put("LossyImageCompression", "01"), "Lossy Image Compression is 01 without ratio and method"),
        (in_frame("PlanePositionSequence", "ImagePositionPatient", [0, 0, 0]), "ImagePositionPatient of frame 2"),
        (in_frame("FrameContentSequence", "DimensionIndexValues", [1, 5]), "Dimension Index Values of frame 2"),
        (in_frame("DerivationImageSequence", "SourceImageSequence", []), "frame 2: the first source image is not"),
        (in_frame("DerivationImageSequence", "DerivationCodeSequence", []), "the derivation of frame 2"),
        (foreign_reference, "frame 2: a source image is not one of the sources"),
        (private_group, "the private functional group (0029,0010) is not ours"),
        (one_frame_less, "5 frames are made of 6 slices"),
    ],
)
def test_a_violation_is_named(tmp_path: Path, spoil: Callable[[Dataset], None], found: str | None) -> None:
    file = enhanced(tmp_path / "e.dcm")
    ds = one(derived(tmp_path, [file], job(), "enhanced"))
    spoil(ds)
    stream = BytesIO()
    ds.save_as(stream)
    sources = source_slices.read([Path(file)] * 6, [1, 2, 3, 4, 5, 6])

    wrong = enhanced_checks.violations(Job.of(job()), part10.parse(stream.getvalue()), sources)

    assert (wrong == []) if found is None else any(violation.startswith(found) for violation in wrong)
