"""The z-map of a triage as a Parametric Map, and the pseudo-healthy series: behind a switch (DICOM_SPEC 3.1, 3.2).

Both are written as the maps and images of other jobs are; here stands what a triage says differently of them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from node.dicom import derive, maps, parametric, triage_codes
from node.errors import Refuse
from node.worklist.objects.work import Work, plain

FORM: Final = maps.FORM
CLASSIC: Final = "classic"


def write_map(work: Work, request: Mapping[str, Any], z: Path) -> list[dict[str, Any]]:
    """Write the map; returns the instances of the reply, raises Refuse as `parametric.write_map`.

    z: .npy, float32 (z, y, x)
    """
    row = maps.MAPS[triage_codes.KIND]
    said = {
        **_described(work, request, FORM),
        "image_type": list(maps.IMAGE_TYPE),
        "marker": row.opening,
        "derivation": asdict(row.derivation),
        "purpose": asdict(maps.PURPOSE),
        "operation": row.operation,
    }
    reply = parametric.write_map({**_sources(work), "map": str(z), "out": str(work.out / FORM), "job": said})
    instances: list[dict[str, Any]] = reply["instances"]
    return instances


def write_images(work: Work, request: Mapping[str, Any], healthy: Path) -> list[dict[str, Any]]:
    """Write the pseudo-healthy series; `healthy`: .npy, float32 (z, y, x), HU. Raises Refuse as `derive.write_series`.

    Where the source has padding, so has the series (DICOM_SPEC 1.5), if the request names the decoder's `padding`.
    """
    said = _described(work, request, CLASSIC)
    reply = derive.write_series(
        {
            **_sources(work),
            "result": str(healthy),
            "padding": request.get("padding"),
            "out": str(work.out / CLASSIC),
            "job": said,
        }
    )
    instances: list[dict[str, Any]] = reply["instances"]
    return instances


def _described(work: Work, request: Mapping[str, Any], form: str) -> dict[str, Any]:
    if form not in work.numbers:
        raise Refuse(f"There is no Series Number for the form {form} of a triage.")
    return {**plain(request["job"]), "series_number": work.numbers[form]}


def _sources(work: Work) -> dict[str, Any]:
    return {"sources": [str(path) for path in work.paths], "frames": list(work.frames)}
