"""What a performed procedure step or an availability notification names. Runs in the child: it parses what peers sent.

MPPS: PS3.4 F.7.2, Performed Series Sequence (0040,0340). IAN: PS3.4 R.3.1, Referenced Series Sequence (0008,1115).
"""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from node.dicom.classes import STORAGE_CLASSES
from node.dicom.uids import is_well_formed
from node.errors import Refuse

MOST_SERIES: Final = 2_000
MOST_INSTANCES: Final = 200_000
_UNAVAILABLE: Final = "UNAVAILABLE"  # Instance Availability (0008,0056), PS3.4 R.3.1


def step(request: dict[str, Any]) -> dict[str, Any]:
    """Read the data set of an N-CREATE or N-SET of Modality Performed Procedure Step.

    request: data (base64 of the data set, little endian), implicit (VR)
    returns: status (empty if the data set has none), study_uid, and series: {uid: [SOP Instance UID, ...]}; only
             instances of classes that the node takes are named, others never come here
    raises:  Refuse if a UID is none or a limit is passed
    """
    found = _dataset(request)
    scheduled = _items(found, "ScheduledStepAttributesSequence")
    study_uids = {_uid(item, "StudyInstanceUID") for item in scheduled} - {""}
    return {
        "status": str(found.get("PerformedProcedureStepStatus") or "").strip(),
        "study_uid": study_uids.pop() if len(study_uids) == 1 else "",
        "series": _series(
            (series, image)
            for series in _items(found, "PerformedSeriesSequence")
            for image in _items(series, "ReferencedImageSequence")
        ),
    }


def available(request: dict[str, Any]) -> dict[str, Any]:
    """Read the data set of an N-CREATE of Instance Availability Notification; as `step`, without a status."""
    found = _dataset(request)
    return {
        "study_uid": _uid(found, "StudyInstanceUID"),
        "series": _series(
            (series, instance)
            for series in _items(found, "ReferencedSeriesSequence")
            for instance in _items(series, "ReferencedSOPSequence")
            if str(instance.get("InstanceAvailability") or "") != _UNAVAILABLE
        ),
    }


def _series(named: Iterator[tuple[Dataset, Dataset]]) -> dict[str, list[str]]:
    series: dict[str, list[str]] = {}
    for number, (one, instance) in enumerate(named, start=1):
        if number > MOST_INSTANCES:
            raise Refuse(f"More than {MOST_INSTANCES} instances are named.")
        series_uid, uid = _uid(one, "SeriesInstanceUID"), _uid(instance, "ReferencedSOPInstanceUID")
        if not series_uid or not uid:
            raise Refuse("A named instance has no UID, or its series has none.")
        if _uid(instance, "ReferencedSOPClassUID") in STORAGE_CLASSES:
            series.setdefault(series_uid, []).append(uid)
        if len(series) > MOST_SERIES:
            raise Refuse(f"More than {MOST_SERIES} series are named.")
    return series


def _dataset(request: dict[str, Any]) -> Dataset:
    data = BytesIO(base64.b64decode(request["data"]))
    return read_dataset(data, is_implicit_VR=request["implicit"], is_little_endian=True)


def _items(found: Dataset, keyword: str) -> list[Dataset]:
    return list(found.get(keyword) or [])


def _uid(found: Dataset, keyword: str) -> str:
    text = str(found.get(keyword) or "")
    if text and not is_well_formed(text):
        raise Refuse(f"{keyword} is no UID.")
    return text
