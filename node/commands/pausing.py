"""`imaging-node pause` and `resume`: stop what a pipeline makes and sends, and let it go on; nothing is lost."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from sqlalchemy import Connection, func, select

from node.commands.decide import require_words
from node.errors import BadSetting
from node.records import pauses
from node.records.database import Records
from node.records.states import JobState
from node.records.tables import JOBS


def pause(records: Records, names: Collection[str], known: Collection[str], *, by: str, why: str) -> dict[str, Any]:
    """Pause pipelines; those that are paused stay so.

    known:   pipelines of the settings
    by, why: who decides and the reason; they stay in the audit trail
    returns: pipelines (those that stand still now) and under_way (their jobs that are in a stage at this moment)
    raises:  BadSetting if a pipeline is none of the node's
    """
    require_words(by, why)
    with records.write() as connection:
        _require_known(connection, names, known)
        standing = {one.pipeline for one in pauses.every(connection)}
        for name in sorted(set(names) - standing):
            pauses.pause(connection, name, by=by, why=why, at=time.time())
        query = select(func.count()).where(JOBS.c.state == JobState.RUNNING, JOBS.c.pipeline.in_(list(names)))
        return _state(connection) | {"under_way": int(connection.execute(query).scalar_one())}


def resume(records: Records, names: Collection[str], *, by: str, why: str) -> dict[str, Any]:
    """Let pipelines go on. As `pause`.

    names:   empty for every one that is paused
    returns: resumed, and pipelines (those that still stand)
    raises:  BadSetting if one is not paused, or none is
    """
    require_words(by, why)
    with records.write() as connection:
        standing = {one.pipeline for one in pauses.every(connection)}
        asked = set(names) or standing
        if not asked or asked - standing:
            wrong = ", ".join(sorted(asked - standing)) or "No pipeline"
            raise BadSetting(f"{wrong} is not paused.", fix="See `imaging-node pause --list`.")
        for name in sorted(asked):
            pauses.resume(connection, name, by=by, why=why, at=time.time())
        return _state(connection) | {"resumed": sorted(asked)}


def standing(records: Records) -> dict[str, Any]:
    """What stands still, and how much waits for it."""
    with records.read() as connection:
        return _state(connection)


def text(found: Mapping[str, Any]) -> RenderableType:
    """For people."""
    lines = [Text(f"Resumed: {', '.join(found['resumed'])}")] if "resumed" in found else []
    for one in found["pipelines"]:
        since = f"{datetime.fromtimestamp(one['since'], UTC).astimezone():%Y-%m-%d %H:%M:%S}"
        lines.append(
            Text(f"Paused: {one['pipeline']} since {since} by {one['by']}: {one['why']} ({one['waiting']} job(s) wait)")
        )
    if found.get("under_way"):
        lines.append(
            Text(f"{found['under_way']} job(s) are in a stage now; they stop at its end, nothing of them leaves.")
        )
    return Group(*lines) if lines else Text("No pipeline is paused.")


def _state(connection: Connection) -> dict[str, Any]:
    query = select(JOBS.c.pipeline, func.count()).where(JOBS.c.state == JobState.PAUSED).group_by(JOBS.c.pipeline)
    waiting = {row[0]: int(row[1]) for row in connection.execute(query).all()}
    return {
        "pipelines": [
            {
                "pipeline": one.pipeline,
                "since": one.since,
                "by": one.by,
                "why": one.why,
                "waiting": waiting.get(one.pipeline, 0),
            }
            for one in pauses.every(connection)
        ]
    }


def _require_known(connection: Connection, names: Collection[str], known: Collection[str]) -> None:
    """A rule may be gone while jobs of its pipeline are still on their way: those count, too."""
    made = set(connection.execute(select(JOBS.c.pipeline).distinct()).scalars().all())
    if strangers := sorted(set(names) - set(known) - made):
        usual = ", ".join(sorted({*known, *made})) or "none"
        raise BadSetting(f"No rule names the pipeline {', '.join(strangers)!a}.", fix=f"There is: {usual}.")
