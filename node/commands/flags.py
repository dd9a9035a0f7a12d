"""`imaging-node flags`: the newest verdicts of triage, who was told of them, and how far that came."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from node.errors import BadSetting
from node.records import jobs, notices, triages
from node.records.database import Records
from node.records.states import GIVEN_UP, NoticeState

_OF_A_VERDICT: Final = (
    "job_id", "study_uid", "series_uid", "scanner", "flag", "score", "percentile", "threshold", "reasons", "arrived_at",
    "decided_at", "acknowledged_at", "read_at", "withdrawn_at", "withdrawal", "report_uid",
)  # fmt: skip
_OF_A_NOTICE: Final = (
    "kind", "channel", "way", "control_id", "state", "attempts", "since", "next_at", "updated_at", "alarmed_at",
    "delivered_at", "trouble", "answer",
)  # fmt: skip


def flags(records: Records, *, limit: int) -> dict[str, Any]:
    """The newest verdicts with their notices, and how many notices of a channel are an alarm.

    Nothing of what identifies a patient, but what a receiver may have put into its answer.
    """
    with records.read() as connection:
        return {
            "verdicts": [
                {name: row[name] for name in _OF_A_VERDICT}
                | {
                    "notices": [
                        {name: notice[name] for name in _OF_A_NOTICE}
                        for notice in notices.of_job(connection, row["job_id"])
                    ]
                }
                for row in triages.newest(connection, limit=limit)
            ],
            "alarms": {channel: count for channel, count in notices.alarms(connection).items() if count},
        }


def settle(records: Records, key: str, *, by: str) -> None:
    """A person says that the receivers have what was given up of a job. Raises BadSetting if there is no such thing."""
    if not by:
        raise BadSetting("--known needs --by.", fix="Say who asked the receiver.")
    with records.write() as connection:
        job = jobs.by_prefix(connection, key)
        if job is None or not notices.known(connection, job["id"], by=by, at=time.time()):
            raise BadSetting(f"No notice of a job {key!a} was given up.", fix="See `imaging-node flags`.")


def text(found: Mapping[str, Any]) -> RenderableType:
    """For people."""
    table = Table(box=None)
    for head in ("decided", "job", "verdict", "score", "told"):
        table.add_column(head, no_wrap=head != "told")
    for one in found["verdicts"]:
        withdrawn = "\nwithdrawn" if one["withdrawn_at"] else ""
        table.add_row(
            f"{datetime.fromtimestamp(one['decided_at'], UTC).astimezone():%Y-%m-%d %H:%M:%S}",
            one["job_id"][:12],
            one["flag"] + withdrawn,
            "" if one["score"] is None else f"{one['score']:.2f}",
            "\n".join(map(_line, one["notices"])) or "nobody",
        )
    alarms = [
        Text(f"ALARM {channel}: {count} not acknowledged", style="bold red")
        for channel, count in found["alarms"].items()
    ]
    return Group(table, *alarms)


def _line(notice: Mapping[str, Any]) -> str:
    state, trouble = notice["state"], notice["trouble"]
    what = f"{notice['channel']} {notice['kind']}: "
    if state == NoticeState.DELIVERED:
        line = f"{what}acknowledged after {max(notice['delivered_at'] - notice['since'], 0.0):.1f} s"
    elif state == NoticeState.CANCELLED:
        line = f"{what}not sent any more"
    else:
        line = f"{what}{state}, {notice['attempts']} attempts; {trouble} {notice['answer']}".rstrip()
    line = escape(line)
    return f"[red]{line}[/red]" if state in GIVEN_UP or (notice["alarmed_at"] and trouble) else line
