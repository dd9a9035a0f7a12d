"""What is said of a series that was brought to the grid of another one: in the job's events, log and metrics."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from node.log import log
from node.metrics import METRICS
from node.processing.parts import SetPart
from node.records import events

SHOWN: Final = (
    "identity", "same_frame", "quality", "quality_start", "mutual", "mutual_start", "cover", "shift_mm", "rotation_deg",
)  # fmt: skip
"""The figures that a person is shown; the motion itself and the reach of each slice stay with the job's own data."""


def frames_of_reference(part: SetPart) -> frozenset[str] | str:
    """The Frame of Reference UID (0020,0052) of a part; one that names none, or one for each slice, agrees with none.

    returns: something that equals that of another part where both name the same frame of reference, and only there
    """
    found = frozenset(value for header in part.headers for value in header.get("FrameOfReferenceUID", ()) if value)
    return found if len(found) == 1 else part.slices[0].uid


def outcome(placed: Mapping[str, Any]) -> str:
    """How a series came to the grid: it lay on it (identity), its header said where (header), or it was moved."""
    if placed["identity"]:
        return "identity"
    return "moved" if placed["shift_mm"] or placed["rotation_deg"] else "header"


def tell_registration(
    connection: Connection, job: Mapping[str, Any], role: str, placed: Mapping[str, Any], *, at: float
) -> None:
    """Keep the figures with the job, and say them."""
    figures = {name: placed[name] for name in SHOWN}
    METRICS.registrations.labels(pipeline=job["pipeline"], role=role, outcome=outcome(placed)).inc()
    METRICS.registration_quality.labels(pipeline=job["pipeline"], role=role).observe(placed["quality"])
    log.info("registered", job=job["id"][:12], pipeline=job["pipeline"], role=role, **figures)
    events.add(connection, at=at, kind="registered", subject=job["id"], role=role, **figures)
