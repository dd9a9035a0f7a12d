"""The Store Instances Response of STOW-RS (PS3.18 10.5.3 and I.2), as JSON (PS3.18 F) or XML (PS3.19 A)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from node.intake.incoming import Status

JSON_TYPE: Final = "application/dicom+json"
XML_TYPE: Final = "application/dicom+xml"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one part. The UIDs are empty where the part did not say."""

    sop_class_uid: str
    sop_instance_uid: str
    status: int


def http_status(outcomes: Sequence[Outcome]) -> int:
    """The status of the whole (PS3.18 Table 10.5.3-1), for a body that was read to its end."""
    if not outcomes:
        return 400
    failed = {outcome.status for outcome in outcomes if outcome.status != Status.SUCCESS}
    if not failed:
        return 200
    if len(failed) < len({outcome.status for outcome in outcomes}):
        return 202
    # None was stored. One reason for all says more than Conflict, which stands for a mixture.
    only = failed.pop() if len(failed) == 1 else None
    if only is None:
        return 409
    return {Status.OUT_OF_RESOURCES: 507, Status.TOO_LARGE: 413, Status.INTERNAL_FAILURE: 503}.get(Status(only), 409)


def encoded(outcomes: Sequence[Outcome], *, media_type: str) -> bytes:
    """The response's data set; sequences without items are left out."""
    taken = [_item(outcome) for outcome in outcomes if outcome.status == Status.SUCCESS]
    failed = [_item(outcome) for outcome in outcomes if outcome.status != Status.SUCCESS]
    data_set: dict[str, Any] = {"00081190": {"vr": "UR"}}  # Retrieve URL: the node keeps no archive
    if failed:
        data_set["00081198"] = {"vr": "SQ", "Value": failed}  # Failed SOP Sequence
    if taken:
        data_set["00081199"] = {"vr": "SQ", "Value": taken}  # Referenced SOP Sequence
    if media_type == XML_TYPE:
        root = ElementTree.Element("NativeDicomModel", {"xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM"})
        _fill(root, data_set)
        text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return text
    return json.dumps(data_set, separators=(",", ":")).encode()


def _item(outcome: Outcome) -> dict[str, Any]:
    item: dict[str, Any] = {
        "00081150": _uid(outcome.sop_class_uid),  # Referenced SOP Class UID
        "00081155": _uid(outcome.sop_instance_uid),  # Referenced SOP Instance UID
    }
    if outcome.status == Status.SUCCESS:
        item["00081190"] = {"vr": "UR"}
    else:
        item["00081197"] = {"vr": "US", "Value": [int(outcome.status)]}  # Failure Reason
    return item


def _uid(text: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [text]} if text else {"vr": "UI"}


_KEYWORDS: Final = {
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081190": "RetrieveURL",
    "00081197": "FailureReason",
    "00081198": "FailedSOPSequence",
    "00081199": "ReferencedSOPSequence",
}


def _fill(parent: ElementTree.Element, data_set: dict[str, Any]) -> None:
    for tag, element in sorted(data_set.items()):
        names = {"tag": tag, "vr": element["vr"], "keyword": _KEYWORDS[tag]}
        attribute = ElementTree.SubElement(parent, "DicomAttribute", names)
        for number, value in enumerate(element.get("Value", ()), start=1):
            if isinstance(value, dict):
                _fill(ElementTree.SubElement(attribute, "Item", {"number": str(number)}), value)
            else:
                ElementTree.SubElement(attribute, "Value", {"number": str(number)}).text = str(value)
