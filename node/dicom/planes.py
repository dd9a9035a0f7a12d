"""Single slices decoded ahead of their series; runs in the resource-limited child and nowhere else."""

from pathlib import Path
from typing import Any

from node.dicom import decode, frames, part10
from node.errors import Refuse


def decode_planes(request: dict[str, Any]) -> dict[str, Any]:
    """Decode slices one by one, each as `decode.prepare_series` would; nothing is said of the series.

    request: slices: [Part 10 file, frame, file to write] of each, frame 0 for a single-frame object
    returns: problems: of each slice, empty when its file is written, as `DecodedPlane` has it
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
    is_ct = frames.header(part, frame, frozenset({"Modality"})).get("Modality") == ("CT",)
    decode.plane(part, frame, is_ct=is_ct).write(out)
