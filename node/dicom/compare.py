"""Small jobs of the child beside decoding and deriving."""

from typing import Any

import numpy as np

from node.dicom import decode, derive, part10, pixels

__all__ = ["decode", "derive", "ready", "same_pixels"]


def ready(request: dict[str, Any]) -> dict[str, Any]:
    """Answer once this module's imports are done, so that the first series does not wait for them."""
    return {}


def same_pixels(request: dict[str, Any]) -> dict[str, Any]:
    """Whether two files decode to equal stored values.

    request: paths (two Part 10 files)
    returns: same
    raises:  Refuse if one cannot be decoded
    """
    first, second = (pixels.pixel_values(part10.read(path))[0] for path in request["paths"])
    return {"same": first.shape == second.shape and bool(np.array_equal(first, second))}
