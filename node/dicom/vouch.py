"""The report of an archive on storage commitment, read: PS3.4 J.3.3.1. In the child where the caller is not trusted."""

import base64
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from node.dicom.part10 import BROKEN
from node.errors import Refuse

_NO_REASON: Final = 0x0110  # PS3.4 J.3.3.1.1, for a failure that gives none: processing failure


def report(request: dict[str, Any]) -> dict[str, Any]:
    """Transaction UID, what is committed and what failed, whichever Event Type ID the report came with.

    request: {"data": data set in base64, "implicit": whether it is in Implicit VR Little Endian}
    returns: {"transaction_uid", "committed": [SOP Instance UID], "failures": {SOP Instance UID: Failure Reason}}
    raises:  Refuse if it cannot be read
    """
    try:
        found = decode(BytesIO(base64.b64decode(request["data"])), bool(request["implicit"]), True)
        failures = {
            _uid(item): int(item.get("FailureReason") or _NO_REASON) for item in found.get("FailedSOPSequence") or ()
        }
        committed = {_uid(item) for item in found.get("ReferencedSOPSequence") or ()}
        transaction_uid = str(found.get("TransactionUID", ""))
    except BROKEN as error:
        raise Refuse("The report on storage commitment cannot be read.") from error
    return {"transaction_uid": transaction_uid, "committed": sorted(committed - failures.keys()), "failures": failures}


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID", ""))
