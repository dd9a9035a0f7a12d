"""A series of a job on the grid of another one: runs in a child of its own, whose end is no end of the worker.

Numbers and files go in and out, no DICOM: what is said of the series stands in the request.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.errors import NotRegistered, Refuse
from pipelines.role import Registered
from pipelines.steps import register
from pipelines.steps.resample import Unavailable, place
from pipelines.volume import Volume


def bring(request: dict[str, Any]) -> dict[str, Any]:
    """Bring a series to a grid and write it there.

    request: role (for messages), fixed and moving (each: voxels and padding, .npy files of one shape; affine),
             same_frame, believed (fields of `Registered`), threads, voxels and padding (.npy files to write); motion:
             the one that was found before (optional: it is not searched then)
    returns: the figures of `Placed`, and sha256 of voxels and padding; if `motion` was given only sha256
    raises:  NotRegistered with what speaks against the motion; Refuse if SimpleITK is not installed
    """
    fixed, moving = _volume(request["fixed"]), _volume(request["moving"])
    try:
        if request.get("motion"):
            motion = np.array(request["motion"], np.float64)
            voxels, padding = place(fixed, moving, motion, threads=request["threads"])
            return {"sha256": _write(request, voxels, padding)}
        believed = Registered(**request["believed"])
        placed = register.register(
            fixed, moving, same_frame=request["same_frame"], believed=believed, threads=request["threads"]
        )
    except Unavailable as error:
        raise Refuse(error.message, fix=error.fix) from error
    if placed.reasons:
        raise NotRegistered(
            f"The series for {request['role']} was not brought to the grid: {'; '.join(placed.reasons)}.",
            fix="Look whether it shows the same head in the same way; then send it again, or discard the job.",
        )
    return {**placed.figures(), "sha256": _write(request, placed.voxels, placed.padding)}


def _volume(given: dict[str, Any]) -> Volume:
    return Volume(
        voxels=np.load(given["voxels"], mmap_mode="r"),
        affine=np.array(given["affine"], np.float64),
        unit="MR",
        padding=np.load(given["padding"], mmap_mode="r"),
    )


def _write(request: dict[str, Any], voxels: NDArray[np.float32], padding: NDArray[np.bool_]) -> str:
    """Write both beside their places, then rename them; not synced, as decoded volumes are not."""
    digest = hashlib.sha256()
    for name, array in (("voxels", voxels), ("padding", padding)):
        path = Path(request[name])
        aside = path.with_name(path.name + ".part")
        with aside.open("wb") as file:
            np.save(file, array)
        digest.update(np.ascontiguousarray(array).data)
        aside.replace(path)
    return digest.hexdigest()
