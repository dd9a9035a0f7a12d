"""What is to be told of a verdict, and to whom: written beside the verdict, in the same transaction.

What is told is settled here: every attempt, on whichever day, says the same under the same control id.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from node.dicom.subject import Subject
from node.peers.telling import Told
from node.records import notices, restored
from node.records.notices import FLAG, WITHDRAWAL
from node.records.states import CARRIED, NoticeState
from node.settings.flags import Channel, Hl7Channel, Label, Webhook
from pipelines.triage import Flag

_ID_LENGTH: Final = 20  # MSH-10 is ST of at most 20 characters (HL7 v2.5.1 2.15.9.10)
_WAYS: Final = {Hl7Channel: "hl7", Webhook: "webhook", Label: "label"}
_ANOTHER: Final = "The series was triaged again, with another result."


def queue_flag(
    connection: Connection, triage: Mapping[str, Any], channels: Sequence[Channel], facts: Mapping[str, Any]
) -> None:
    """Queue a new verdict for every channel that wants it. Twice is once.

    A verdict in the place of an earlier one of the same job replaces its notices; a channel that had the earlier one
    and does not want the new one gets a withdrawal.

    triage: row of the table of verdicts
    facts:  of its source, as `node.dicom.subject.subject` gives them
    """
    flag, at = Flag(triage["flag"]), float(triage["decided_at"])
    told = Told(
        job_id=triage["job_id"],
        flag=flag,
        score=triage["score"],
        threshold=triage["threshold"],
        reasons=tuple(triage["reasons"]),
        report_uid=triage["report_uid"],
        subject=replace(
            Subject.from_json(facts), study_uid=str(triage["study_uid"]), series_uid=str(triage["series_uid"])
        ),
        told_at=at,
        stamp=_stamp(at),
    )
    for row in notices.of_job(connection, told.job_id, FLAG):
        if not any(one.name == row["channel"] and one.wants(flag) for one in channels):
            _withdraw(connection, row, _ANOTHER, at)
    wanted = [one for one in channels if one.wants(flag)]
    notices.put(connection, [_row(told, FLAG, one.name, _WAYS[type(one)]) for one in wanted])
    restored.hold_notices(connection, told.job_id, at=at)


def queue_withdrawal(connection: Connection, job_id: str, reason: str, *, at: float) -> list[str]:
    """Queue the withdrawal of a verdict for every channel that may have carried it. Twice is once.

    A flag that certainly reached nobody is not sent any more, and nothing is said of it.

    reason:  a plain sentence without patient data
    at:      seconds since the epoch
    returns: the channels that are told
    """
    rows = notices.of_job(connection, job_id, FLAG)
    return [row["channel"] for row in rows if _withdraw(connection, row, reason, at)]


def _withdraw(connection: Connection, row: Mapping[str, Any], reason: str, at: float) -> bool:
    """Withdraw one flag at one channel. Returns whether the channel is told."""
    carried = row["state"] in CARRIED
    if carried:
        told = replace(Told.from_json(row["body"]), withdrawn=reason, told_at=at, stamp=_stamp(at))
        notices.put(connection, [_row(told, WITHDRAWAL, row["channel"], row["way"], of=row["control_id"])])
    if row["state"] != NoticeState.DELIVERED:
        notices.cancel(connection, row["id"], why=reason, at=at)
    return carried


def _row(told: Told, kind: str, channel: str, way: str, *, of: str = "") -> dict[str, Any]:
    return {
        "job_id": told.job_id,
        "kind": kind,
        "channel": channel,
        "way": way,
        "control_id": control_id(told.job_id, kind, channel, of or told.flag.value, "" if of else repr(told.told_at)),
        "since": told.told_at,
        "body": told.to_json(),
    }


def control_id(*parts: str) -> str:
    """By which a receiver knows a repetition: 80 bits of a digest over the parts, in 20 characters."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:_ID_LENGTH].upper()


def _stamp(at: float) -> str:
    """As HL7 v2.5.1 2.A.89, TS: local time with its offset from UTC."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y%m%d%H%M%S%z")
