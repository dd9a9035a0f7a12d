"""Small jobs of the child beside decoding and deriving."""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np

from node.dicom import decode, derive, part10, pixels
from node.dicom.part10 import Part10

__all__ = ["decode", "derive", "ready", "same_pixels"]


def ready(request: dict[str, Any]) -> dict[str, Any]:
    """Answer once this module's imports are done, so that the first series does not wait for them.

    request: modules, names of more that are to be imported
    """
    for name in request.get("modules", ()):
        importlib.import_module(name)
    return {}


def same_pixels(request: dict[str, Any]) -> dict[str, Any]:
    """Whether two files decode to equal stored values.

    request: paths (two Part 10 files)
    returns: same
    raises:  Refuse if one cannot be decoded
    """
    first, second = (part10.read(path) for path in request["paths"])
    if first.frames != second.frames:
        return {"same": False}
    return {"same": all(_same_frame(first, second, frame) for frame in range(1, first.frames + 1))}


def _same_frame(first: Part10, second: Part10, frame: int) -> bool:
    one, other = (pixels.pixel_values(replace(part, frame=frame))[0] for part in (first, second))
    return bool(np.array_equal(one, other))
