"""What a key object selection says, as far as it takes images back. Runs in the child: it parses what peers sent.

IHE Image Object Change Management (RAD TF-3 4.66): a Key Object Selection whose title is one of CID 7011 rejects the
instances that its content names.
"""

from collections.abc import Iterator
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from node.dicom.uids import is_well_formed
from node.errors import Refuse

MOST_INSTANCES: Final = 200_000
_DEEPEST: Final = 16  # nested content items; TID 2010 has one level

TITLES: Final = {
    "113001": "rejected for quality reasons",
    "113037": "rejected for patient safety reasons",
    "113038": "rejected for an incorrect modality worklist entry",
    "113039": "rejected because its retention period expired",
}
"""Document titles that reject (CID 7011), and what they mean."""

WITHDRAWING: Final = frozenset({"113001", "113037", "113038"})
"""Those of them that say that the images are no good. What is deleted for its age was right when it was looked at."""


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Read one key object selection.

    request: path
    returns: code (of the title; empty if it rejects nothing), study_uid, instances (SOP Instance UIDs that its content
             names, each once; those of the evidence where the content names none)
    raises:  Refuse if it cannot be read, or names too many
    """
    try:
        found = dcmread(request["path"], stop_before_pixels=True)
        title = next(iter(found.get("ConceptNameCodeSequence") or []), Dataset())
        code = str(title.get("CodeValue") or "").strip()
        known = str(title.get("CodingSchemeDesignator") or "").strip() == "DCM" and code in TITLES
        named = list(dict.fromkeys(_content(found, 0))) or list(dict.fromkeys(_evidence(found)))
    except (InvalidDicomError, ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise Refuse(f"A key object selection cannot be read ({type(error).__name__}).") from error
    if len(named) > MOST_INSTANCES:
        raise Refuse(f"A key object selection names {len(named)} instances; at most {MOST_INSTANCES} are taken.")
    return {
        "code": code if known else "",
        "study_uid": str(found.get("StudyInstanceUID") or ""),
        "instances": [uid for uid in named if is_well_formed(uid)],
    }


def _content(item: Dataset, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise Refuse("The content of a key object selection is nested too deeply.")
    for one in item.get("ContentSequence") or []:
        for reference in one.get("ReferencedSOPSequence") or []:
            yield str(reference.get("ReferencedSOPInstanceUID") or "")
        yield from _content(one, depth + 1)


def _evidence(found: Dataset) -> Iterator[str]:
    for study in found.get("CurrentRequestedProcedureEvidenceSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for reference in series.get("ReferencedSOPSequence") or []:
                yield str(reference.get("ReferencedSOPInstanceUID") or "")
