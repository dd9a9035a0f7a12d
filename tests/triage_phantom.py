"""A triage of a phantom: assessment, maps on the grid of its sources, and the request that writes its objects."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from node.worklist.objects.write import write_objects
from pipelines.triage import Assessment, Flag
from tests import dicom_phantom

NUMBERS = {"report": 4051, "capture": 4045, "keys": 4052, "map": 4042, "segment": 4044, "classic": 4041}
WHAT_THE_KIND_SAYS = ["kind", "image_type", "marker", "synthetic", "derivation", "purpose", "operation", "elements"]
REASONS = ("The brain was not found: 12 of 40 slices have no closed skull.", "The head is tilted by 41 degrees.")


def job(**changes: Any) -> dict[str, Any]:
    """The job of a triage; what its kind alone decides is left to the writer."""
    made = dicom_phantom.job(
        model="head_ct_triage", series_number=NUMBERS["classic"], numbers=dict(NUMBERS), parameters={}
    )
    for name in WHAT_THE_KIND_SAYS:
        del made[name]
    return made | changes


def raised(**changes: Any) -> Assessment:
    """A flag on the second and third slice."""
    said: dict[str, Any] = {
        "flag": Flag.RAISED,
        "threshold": 0.5,
        "score": 0.8765432,
        "percentile": 0.99,
        "features": {"volume_positive_ml": 12.0},
        "slices": (2, 1),
        "peak": (2, 24, 20),
    }
    return Assessment(**{**said, **changes})


def not_raised() -> Assessment:
    return Assessment(flag=Flag.NOT_RAISED, threshold=0.5, score=0.125, percentile=0.4)


def not_analysable() -> Assessment:
    return Assessment.not_analysable(REASONS, threshold=0.5)


def maps(folder: Path, shape: tuple[int, int, int], *, low: float = -4.0, high: float = 9.5) -> Path:
    """A round region in the middle of the second and third slice, with a z-map that says so."""
    z, y, x = np.indices(shape, np.float32)
    distance = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    inside = (distance < min(shape[1:]) / 6) & (z >= 1) & (z <= 2)
    values = np.where(inside, high, low * np.exp(-distance / 10)).astype(np.float32)
    healthy = np.full(shape, 35.0, np.float32) + np.sin(x / math.pi).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "maps.npz", z=values, region=inside, healthy=healthy)
    return folder / "maps.npz"


def request(
    folder: Path,
    sources: list[str],
    assessment: Assessment,
    *objects: str,
    frames: list[int] | None = None,
    maps_at: Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """What the flow asks of the child."""
    return {
        "sources": sources,
        "frames": frames or [0] * len(sources),
        "assessment": assessment.to_json(),
        "maps": None if maps_at is None else str(maps_at),
        "out": str(folder),
        "job": job(**changes),
        "objects": list(objects) or ["report"],
    }


def written(folder: Path, sources: list[str], assessment: Assessment, *objects: str, **more: Any) -> dict[str, Any]:
    """The reply to such a request."""
    return write_objects(request(folder, sources, assessment, *objects, **more))


def paths(reply: dict[str, Any], form: str) -> list[str]:
    """The files of one form."""
    return [one["path"] for one in reply["instances"] if one["form"] == form]
