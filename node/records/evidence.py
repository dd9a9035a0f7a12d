"""What peers say of the completeness of a series: performed procedure steps, availability, an archive's stable event.

What is said is believed for completeness only: it decides when a series is looked at, never what is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from node.records.tables import EVIDENCE


class Source(StrEnum):
    """Who or what says it."""

    MPPS = "mpps"  # Modality Performed Procedure Step, PS3.4 Annex F
    AVAILABLE = "ian"  # Instance Availability Notification, PS3.4 Annex R
    STABLE = "orthanc-stable"  # Orthanc's event StableSeries


class Claim(StrEnum):
    """What it says of the series."""

    IN_PROGRESS = "in progress"
    COMPLETED = "completed"  # this is all of it
    DISCONTINUED = "discontinued"  # more was planned than there will be


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One peer's word on one series.

    key:       SOP Instance UID of the procedure step or notification, or the peer's own id of the event
    instances: how many the series has; None where the peer does not say
    named:     SOP Instance UIDs of the series, where the peer lists them
    at:        seconds since the epoch
    """

    source: Source
    key: str
    study_uid: str
    series_uid: str
    claim: Claim
    instances: int | None = None
    named: tuple[str, ...] = ()
    at: float


def note(connection: Connection, evidence: Evidence) -> None:
    """Keep what a peer says; what it said before under the same key of the same series gives way."""
    values = {
        "kind": evidence.source,
        "key": evidence.key,
        "study_uid": evidence.study_uid,
        "series_uid": evidence.series_uid,
        "state": evidence.claim,
        "instances": len(set(evidence.named)) if evidence.named else evidence.instances,
        "named": sorted(set(evidence.named)),
        "at": evidence.at,
    }
    changed = {name: values[name] for name in ("study_uid", "state", "instances", "named", "at")}
    statement = insert(EVIDENCE).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["kind", "key", "series_uid"], set_=changed))


def of_series(connection: Connection, series_uid: str) -> list[Evidence]:
    """What was said of a series, oldest first."""
    rows = connection.execute(select(EVIDENCE).where(EVIDENCE.c.series_uid == series_uid).order_by(EVIDENCE.c.at))
    return [_from_row(row) for row in rows.mappings().all()]


def of_key(connection: Connection, source: Source, key: str) -> list[Evidence]:
    """Every word of one procedure step or event; empty if it is unknown."""
    rows = connection.execute(select(EVIDENCE).where(EVIDENCE.c.kind == source, EVIDENCE.c.key == key))
    return [_from_row(row) for row in rows.mappings().all()]


def since(connection: Connection, at: float) -> set[str]:
    """The series of which something was said at or after `at`."""
    query = select(EVIDENCE.c.series_uid).where(EVIDENCE.c.at >= at).distinct()
    return set(connection.execute(query).scalars().all())


def named(found: Sequence[Evidence]) -> frozenset[str]:
    """All instances that those who say that the series is over have named."""
    return frozenset(uid for one in found if one.claim is not Claim.IN_PROGRESS for uid in one.named)


def _from_row(row: Any) -> Evidence:
    return Evidence(
        source=Source(row["kind"]),
        key=row["key"],
        study_uid=row["study_uid"],
        series_uid=row["series_uid"],
        claim=Claim(row["state"]),
        instances=row["instances"],
        named=tuple(row["named"]),
        at=row["at"],
    )
