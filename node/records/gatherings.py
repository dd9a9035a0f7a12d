"""Gatherings: what a study has for a rule whose pipeline takes several series, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from node.records.states import GatheringState
from node.records.tables import GATHERINGS, INSTANCES, MEMBERS, SERIES


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stack of a complete series that fits a role.

    acquired: date and time of acquisition as the headers have it, for an order that does not depend on arrival
    """

    set_id: str
    part: str
    series_uid: str
    version: int
    acquired: str


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """One rule and one study.

    candidates: role -> what fits it
    job:        of the newest choice; None before there was one
    since:      when the first candidate came, seconds since the epoch
    reason:     in words, for whoever asks what is waited for
    """

    study_uid: str
    rule: str
    state: GatheringState
    candidates: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)
    job: str | None = None
    since: float
    reason: str = ""

    def with_set(self, series_uid: str, version: int, fitting: Mapping[str, Sequence[Candidate]]) -> "Gathering":
        """The same with a new version of a series; what older versions of it fitted is forgotten."""
        known = [one for some in self.candidates.values() for one in some]
        if any(one.series_uid == series_uid and one.version > version for one in known):
            return self
        roles = sorted({*self.candidates, *fitting})
        others = {r: [one for one in self.candidates.get(r, ()) if one.series_uid != series_uid] for r in roles}
        now = {role: (*others[role], *fitting.get(role, ())) for role in roles}
        return replace(self, candidates={role: some for role, some in now.items() if some})


def get(connection: Connection, study_uid: str, rule: str) -> Gathering | None:
    query = select(GATHERINGS).where(GATHERINGS.c.study_uid == study_uid, GATHERINGS.c.rule == rule)
    row = connection.execute(query).mappings().first()
    return None if row is None else _from_row(row)


def put(connection: Connection, gathering: Gathering) -> None:
    roles = {role: [asdict(one) for one in some] for role, some in gathering.candidates.items()}
    values = {
        "study_uid": gathering.study_uid,
        "rule": gathering.rule,
        "state": gathering.state,
        "roles": {"candidates": roles, "job": gathering.job},
        "since": gathering.since,
        "reason": gathering.reason,
    }
    statement = insert(GATHERINGS).values(values)
    changed = {name: values[name] for name in ("state", "roles", "reason")}
    connection.execute(statement.on_conflict_do_update(index_elements=["study_uid", "rule"], set_=changed))


def of_study(connection: Connection, study_uid: str) -> list[Gathering]:
    rows = connection.execute(select(GATHERINGS).where(GATHERINGS.c.study_uid == study_uid).order_by(GATHERINGS.c.rule))
    return [_from_row(row) for row in rows.mappings().all()]


def in_state(connection: Connection, state: GatheringState) -> list[Gathering]:
    rows = connection.execute(select(GATHERINGS).where(GATHERINGS.c.state == state).order_by(GATHERINGS.c.since))
    return [_from_row(row) for row in rows.mappings().all()]


def patients(connection: Connection, gathering: Gathering) -> int:
    """How many different patients the candidates name."""
    ids = {one.set_id for some in gathering.candidates.values() for one in some}
    query = (
        select(func.count(INSTANCES.c.patient_key.distinct()))
        .join(MEMBERS, MEMBERS.c.instance_id == INSTANCES.c.id)
        .where(MEMBERS.c.set_id.in_(ids))
    )
    return int(connection.execute(query).scalar_one())


def study_activity(connection: Connection, study_uid: str) -> tuple[float, int]:
    """When the last instance of a study came, and how many of its series are not complete."""
    query = select(func.max(SERIES.c.last_at), func.count().filter(SERIES.c.instances > SERIES.c.frozen)).where(
        SERIES.c.study_uid == study_uid
    )
    last_at, unfinished = connection.execute(query).one()
    return float(last_at or 0.0), int(unfinished)


def headers(connection: Connection, study_uid: str) -> dict[str, list[Mapping[str, tuple[str, ...]]]]:
    """The headers of everything received of a study, by series."""
    query = (
        select(INSTANCES.c.series_uid, INSTANCES.c.header)
        .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
        .where(SERIES.c.study_uid == study_uid)
    )
    found: dict[str, list[Mapping[str, tuple[str, ...]]]] = {}
    for series_uid, header in connection.execute(query):
        found.setdefault(series_uid, []).append({keyword: tuple(values) for keyword, values in header.items()})
    return found


def counts(connection: Connection) -> dict[str, float]:
    """How many are in each state; every state is there."""
    rows = connection.execute(select(GATHERINGS.c.state, func.count()).group_by(GATHERINGS.c.state)).all()
    return dict.fromkeys(GatheringState, 0.0) | {row[0]: float(row[1]) for row in rows}


def _from_row(row: Any) -> Gathering:
    return Gathering(
        study_uid=row["study_uid"],
        rule=row["rule"],
        state=GatheringState(row["state"]),
        candidates={role: tuple(Candidate(**one) for one in some) for role, some in row["roles"]["candidates"].items()},
        job=row["roles"]["job"],
        since=row["since"],
        reason=row["reason"],
    )
