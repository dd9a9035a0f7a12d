"""Prepare: a set of received files becomes a `Volume` on disk, decoded in the child process."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from node.child import Child
from node.prepared import Prepared
from node.processing.mapped import mapped
from pipelines.volume import Volume


def prepare(
    child: Child, slices: Sequence[tuple[Path, int]], folder: Path, *, ready: Mapping[str, str] | None = None
) -> Prepared:
    """Decode slices of received files into `folder`.

    slices: (file, frame), in any order; frame 0 for a single-frame object
    ready:  received file -> file of its slice, decoded ahead
    raises: Refuse if the pixels are not what the headers promise
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    voxels, padding = folder / "voxels.npy", folder / "padding.npy"
    named = [[str(file), frame] for file, frame in slices]
    request = {"slices": named, "voxels": str(voxels), "padding": str(padding), "ready": dict(ready or {})}
    reply = child.call("node.dicom.decode:prepare_series", request)
    return Prepared(
        voxels=str(voxels),
        padding=str(padding),
        sources=tuple(str(slices[index][0]) for index in reply["order"]),
        frames=tuple(slices[index][1] for index in reply["order"]),
        affine=tuple(tuple(row) for row in reply["affine"]),
        pixel_sha256=tuple(reply["pixel_sha256"]),
        unit=reply["unit"],
    )


def load(prepared: Prepared) -> Volume | None:
    """The volume, mapped from disk; None if its files are gone (the machine was restarted since)."""
    try:
        voxels, padding = mapped(prepared.voxels), mapped(prepared.padding)
    except FileNotFoundError:
        return None
    return Volume(
        voxels=voxels,
        affine=np.array(prepared.affine, dtype=np.float64),
        unit=prepared.unit,
        padding=padding,
        placed=prepared.placed or {},
    )
