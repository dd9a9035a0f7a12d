"""`imaging-node jobs`, `show` and `replay`: what the records say, and asking for another run."""

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from node.completeness import Complete, Waiting, contiguous
from node.errors import BadSetting
from node.records import commitments, deliveries, events, gatherings, instances, jobs, notices, restored, sets
from node.records.database import Records
from node.records.states import DispatchState, GatheringState, JobState, SetState
from node.settings import Assemble
from node.stages.assemble import Assembler

_STOPPED = frozenset({GatheringState.HELD, GatheringState.REFUSED, GatheringState.DROPPED})
_REPLAYABLE = frozenset({JobState.HELD, JobState.REFUSED, JobState.FAILED})


def listing(records: Records, *, limit: int) -> list[dict[str, Any]]:
    """The newest jobs, JSON-able."""
    with records.read() as connection:
        return [
            _job(row) | {"source_series_uid": row["source_series_uid"]} for row in jobs.listing(connection, limit=limit)
        ]


def show(records: Records, key: str, assemble: Assemble | None = None) -> dict[str, Any]:
    """All that is known of a series (Series Instance UID), a job (its id or the start of it) or a study.

    assemble: the settings, which say how long a series is waited for; default: the usual ones
    returns:  of a study: study_uid, series (as for each of them), gatherings
    raises:   BadSetting
    """
    with records.read() as connection:
        # Some senders give a series the UID of its study: the series is what was asked for, then.
        of_study = [] if instances.of_series(connection, key) else sets.series_of_study(connection, key)
    if of_study:
        series = [show(records, uid, assemble) for uid in of_study]
        return {"study_uid": key, "series": series, "gatherings": series[0]["gatherings"]}
    with records.read() as connection:
        series_uid = jobs.source_series(connection, key) or key
        received = instances.of_series(connection, series_uid)
        if not received:
            raise BadSetting(f"The records know no series or job {key!a}.", fix="See `imaging-node jobs`.")
        found: dict[str, Any] = {
            "series_uid": series_uid,
            "study_uid": received[0][1].study_uid,
            "instances": len(received),
            "first_received": min(member.received_at for _, member in received),
            "last_received": max(member.received_at for _, member in received),
            "waits_for": None,
            "quarantined": instances.quarantined(connection, series_uid),
            "gatherings": _gatherings(connection, received[0][1].study_uid),
            "sets": [],
        }
        for one in sets.of_series(connection, series_uid):
            made = jobs.of_set(connection, one["id"])
            found["sets"].append(
                {
                    "id": one["id"],
                    "version": one["version"],
                    "state": str(one["state"]),
                    "evidence": one["evidence"],
                    "instances": len(sets.members(connection, one["id"])),
                    "rules": one["reasons"],
                    "events": events.of(connection, one["id"]),
                    "jobs": [
                        _job(job)
                        | {
                            "report": job["report"],
                            "roles": jobs.role_series(connection, job["id"]),
                            "destinations": [
                                _dispatch(row) | {"proof": commitments.proof(connection, job["id"], row["destination"])}
                                for row in deliveries.of_job(connection, job["id"])
                            ],
                            "events": events.of(connection, job["id"]),
                        }
                        for job in made
                    ],
                }
            )
    verdict = Assembler(records, assemble or Assemble(), clock=time.time).look(series_uid)
    if verdict is not None:
        slices = contiguous([member.header for _, member in received])
        found["waits_for"] = _waits_for(verdict, slices)
    return found


def _gatherings(connection: Connection, study_uid: str) -> list[dict[str, Any]]:
    return [
        {
            "rule": one.rule,
            "state": str(one.state),
            "reason": one.reason,
            "job": one.job,
            "since": one.since,
            "roles": {
                role: [{"series_uid": it.series_uid, "version": it.version, "part": it.part} for it in some]
                for role, some in one.candidates.items()
            },
            "events": [event for event in events.of(connection, study_uid) if event["detail"].get("rule") == one.rule],
        }
        for one in gatherings.of_study(connection, study_uid)
    ]


def _waits_for(verdict: Complete | Waiting, slices: Complete | Waiting) -> str:
    if isinstance(verdict, Complete):
        return "the worker, which takes it next"
    reasons = [verdict.reason, *([slices.reason] if isinstance(slices, Waiting) else [])]
    if verdict.until is not None:
        until = datetime.fromtimestamp(verdict.until, UTC).astimezone()
        reasons.append(f"if nothing more comes, until {until:%Y-%m-%d %H:%M:%S}")
    return "; ".join(dict.fromkeys(reasons))


def replay(records: Records, key: str) -> list[str]:
    """Run again what did not end well: dead letters are sent again, held, refused and unmatched sets start anew.

    returns: what was asked for, in words; raises BadSetting if there is nothing to do
    """
    found = show(records, key)
    if "sets" not in found:
        raise BadSetting("A study is not replayed as a whole.", fix="Name one of its series.")
    if not found["sets"]:
        with records.write() as connection:
            if restored.let_go(connection, key, at=time.time()):
                return ["the series as it is; nothing more of it is waited for"]
        raise BadSetting("The series is not complete yet.", fix="Wait for it, or send the missing slices.")
    newest = found["sets"][-1]
    asked = []
    with records.write() as connection:
        for job in newest["jobs"]:
            if job["state"] == JobState.DEAD:
                lost = any("missing or not what was made" in row["trouble"] for row in job["destinations"])
                again = deliveries.replay(connection, job["id"], at=time.time())
                asked += [f"delivery to {name}" for name in again]
                if lost:
                    sets.replay(connection, newest["id"], at=time.time())
            asked += [f"telling {name}" for name in notices.replay(connection, job["id"], at=time.time())]
        redo = newest["state"] in (SetState.UNMATCHED, SetState.FAILED) or any(
            job["state"] in _REPLAYABLE for job in newest["jobs"]
        )
        redo |= any(one["state"] in _STOPPED for one in found["gatherings"])
        if redo:
            sets.replay(connection, newest["id"], at=time.time())
            asked.append(f"version {newest['version']} of the series, from routing on")
    if not asked:
        raise BadSetting("Nothing of it failed or was held.", fix="A delivered result is never made twice.")
    return asked


def _job(row: dict[str, Any]) -> dict[str, Any]:
    kept = (
        "id", "pipeline", "pipeline_version", "engine_sha256", "rule", "stage", "reason", "started_at", "updated_at",
        "series_uid", "series_description", "series_number", "seconds", "first_out_at", "parameters", "part",
    )  # fmt: skip
    return {name: row[name] for name in kept} | {"state": str(row["state"])}


def _dispatch(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("destination", "attempts", "trouble", "instances", "confirmed", "updated_at")
    return {name: row[name] for name in kept} | {"state": str(DispatchState(row["state"]))}
