"""Codes and words of the result objects of a triage (DICOM_SPEC 3.1, 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.dicom.codes import CODING_SCHEME, PROCESSING_EQUIPMENT, Code

KIND: Final = "PH"
"""The kind of the images of a triage job; its series UID is that of which every form's is computed."""

CAPTION: Final = "AI TRIAGE - NOT FOR DIAGNOSIS"
PURPOSE: Final = PROCESSING_EQUIPMENT
OPERATION: Final = "Anomaly triage by neural network"


def _ours(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=CODING_SCHEME, meaning=meaning)


def _dcm(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="DCM", meaning=meaning)


ANOM_TRIAGE: Final = _ours("ANOM_TRIAGE", "Automated anomaly triage")
ANOM_SCORE: Final = _ours("ANOM_SCORE", "Anomaly score")
ANOM_Z: Final = _ours("ANOM_Z", "Deviation from the pseudo-healthy image, normalised")
TRIAGE_FLAG: Final = _ours("TRIAGE_FLAG", "Triage flag")
FLAGS: Final = {
    code.value: code
    for code in (
        _ours("FLAG_RAISED", "Suspected abnormality"),
        _ours("FLAG_NOT_RAISED", "Flag not raised"),
        _ours("NOT_ANALYSABLE", "Not analysable"),
    )
}
"""What a triage can say. None of them says that a study is normal."""

REPORT_TITLE: Final = _dcm("126000", "Imaging Measurement Report")  # CID 7021
CT_HEAD: Final = Code(value="24725-4", scheme="LN", meaning="CT Head")
HEAD: Final = Code(value="69536005", scheme="SCT", meaning="Head")
PROBABILITY: Final = _dcm("122157", "Probability")
COMMENT: Final = _dcm("121106", "Comment")
ARTIFICIAL_INTELLIGENCE: Final = _dcm("123110", "Artificial Intelligence")  # CID 7162
NO_UNITS: Final = Code(value="1", scheme="UCUM", meaning="no units")

OF_INTEREST: Final = _dcm("113000", "Of Interest")  # CID 7010
REJECTED: Final = {
    code.value: code
    for code in (
        _dcm("113001", "Rejected for Quality Reasons"),
        _dcm("113037", "Rejected for Patient Safety Reasons"),
    )
}
"""Titles of a rejection note (IHE IOCM)."""
TITLE_MODIFIER: Final = _dcm("113011", "Document Title Modifier")
QUALITY_REASON: Final = _dcm("111220", "Other failure")  # CID 7011; TID 2010 wants one with 113001
KEYS_DESCRIPTION: Final = "AI triage: flag raised. Not a diagnosis."

MORPHOLOGICALLY_ABNORMAL: Final = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
SEGMENTING: Final = _dcm("113076", "Segmentation")  # CID 7203
LESION: Final = Code(value="52988006", scheme="SCT", meaning="Lesion")


@dataclass(frozen=True, kw_only=True)
class ObjectForm:
    """One form of a triage result; each is a series of its own.

    series_code: Series Number = 1000 * source + code
    marker:      Series Description
    """

    series_code: int
    sop_class_uid: str
    sop_class_name: str
    modality: str
    marker: str


REPORT: Final = ObjectForm(
    series_code=51,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    sop_class_name="Comprehensive 3D SR",
    modality="SR",
    marker="AI TRIAGE REPORT - NOT FOR DIAGNOSIS",
)
CAPTURE: Final = ObjectForm(
    series_code=45,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
    sop_class_name="Secondary Capture Image",
    modality="OT",
    marker=CAPTION,
)
KEYS: Final = ObjectForm(
    series_code=52,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59",
    sop_class_name="Key Object Selection Document",
    modality="KO",
    marker="AI TRIAGE KEY IMAGES - NOT FOR DIAGNOSIS",
)
REJECTION: Final = ObjectForm(
    series_code=53,
    sop_class_uid=KEYS.sop_class_uid,
    sop_class_name=KEYS.sop_class_name,
    modality="KO",
    marker="AI TRIAGE WITHDRAWN",
)
SEGMENT: Final = ObjectForm(
    series_code=44,
    sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
    sop_class_name="Segmentation",
    modality="SEG",
    marker="AI ANOMALY REGION - NOT FOR DIAGNOSIS",
)

FORMS: Final[Mapping[str, ObjectForm]] = {
    "report": REPORT,
    "capture": CAPTURE,
    "keys": KEYS,
    "segment": SEGMENT,
    "rejection": REJECTION,
}
"""Form of a result -> what it is. The map and the images have theirs in `maps` and `codes`."""
