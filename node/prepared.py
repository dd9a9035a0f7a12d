"""What the stage `prepare` leaves for those after it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A volume on disk and what the decoder found.

    voxels, padding: .npy files, (z, y, x): float32 in `unit`, and bool
    sources:         the received file of each slice, in slice order; an Enhanced object stands once for each frame
    frames:          of each slice: 0 for a single-frame object, else the number of its frame, 1..N (PS3.3 10.3)
    affine:          4 by 4, (z, y, x, 1) to LPS millimetres
    pixel_sha256:    of each slice's decoded stored values, little endian, in slice order
    roles:           of a job that takes several series: the others by role; this one defines the grid
    placed:          of a role that is brought to the grid: the figures of `pipelines.steps.register.Placed`, the digest
                     of the voxels and whether the frames of reference agreed; `voxels`, `padding` and `affine` are
                     then those of the grid, everything else is of the series' own slices
    """

    voxels: str
    padding: str
    sources: tuple[str, ...]
    frames: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...]
    pixel_sha256: tuple[str, ...]
    unit: str
    roles: Mapping[str, "Prepared"] = field(default_factory=dict)
    placed: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(
            **{
                **data,
                "sources": tuple(data["sources"]),
                # Jobs that were prepared before there were frames have single-frame sources only.
                "frames": tuple(data.get("frames") or [0] * len(data["sources"])),
                "affine": tuple(tuple(row) for row in data["affine"]),
                "pixel_sha256": tuple(data["pixel_sha256"]),
                "roles": {role: cls.from_json(one) for role, one in (data.get("roles") or {}).items()},
            }
        )
