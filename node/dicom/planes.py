"""Single slices decoded ahead of their series; runs in the resource-limited child and nowhere else."""

from pathlib import Path
from typing import Any

import numpy as np

from node.dicom import decode, frames, part10
from node.errors import Refuse


def decode_planes(request: dict[str, Any]) -> dict[str, Any]:
    """Decode slices one by one, each as `decode.prepare_series` would; nothing is said of the series.

    request: slices: [Part 10 file, frame, file to write] of each, frame 0 for a single-frame object
    returns: problems: of each slice, empty when its file is written: voxels (y, x) float32 in HU, or units of an MR,
             then padding (y, x) bool, as two arrays in .npy form
    """
    problems = []
    for path, frame, out in request["slices"]:
        try:
            _write(Path(path), int(frame), Path(out))
            problems.append("")
        except Refuse as refused:
            problems.append(refused.message)
    return {"problems": problems}


def _write(path: Path, frame: int, out: Path) -> None:
    part = part10.read(path)
    stored = decode.stored_values(part, frame)
    is_ct = frames.header(part, frame, frozenset({"Modality"})).get("Modality") == ("CT",)
    voxels, padding = decode.to_units(stored, is_ct=is_ct)
    aside = out.with_name(f".{out.name}.part")
    with aside.open("wb") as file:
        np.save(file, voxels, allow_pickle=False)
        np.save(file, padding, allow_pickle=False)
    aside.replace(out)
