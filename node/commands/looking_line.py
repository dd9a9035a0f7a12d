"""The command lines that look: jobs, series, the reading list, verdicts. They change nothing but with a name."""

import json
import sys
from typing import Annotated

import typer

from node.commands import texts
from node.commands.terminal import USUAL_SETTINGS, AsJson, SettingsFile, records_of, show_result
from node.errors import BadSetting


def jobs(
    settings: SettingsFile = USUAL_SETTINGS,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
    as_json: AsJson = False,
) -> None:
    """The newest jobs and the state they are in."""
    from node.commands import look

    with records_of(settings) as records:
        show_result({"jobs": look.listing(records, limit=limit)}, as_json=as_json, text=texts.jobs)


def top(
    settings: SettingsFile = USUAL_SETTINGS,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 1.0,
    hours: Annotated[int, typer.Option(min=1, max=744, help="How far to look back.")] = 24,
    once: Annotated[bool, typer.Option("--once", help="One picture, then end.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the dashboards show, in this terminal, live; q ends it. Reads only."""
    from node.commands import top as looking

    if as_json:
        sys.stdout.write(json.dumps(looking.once(settings, window=hours)) + "\n")
    else:
        looking.top(settings, every_s=every, window=hours, single=once)


def show(
    series: Annotated[str, typer.Argument(help="Series Instance UID, or the start of a job's id.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """All that is known of a series: what came, why it matched or not, what was made, where it went."""
    from node.commands import look
    from node.settings import load

    with records_of(settings) as records:
        show_result(look.show(records, series, load(settings).assemble), as_json=as_json, text=texts.show)


def worklist(
    settings: SettingsFile = USUAL_SETTINGS,
    everything: Annotated[bool, typer.Option("--all", help="Also what has ended.")] = False,
    free: Annotated[
        str | None, typer.Option(metavar="UID", help="A claimed workitem whose reader is gone: list its study again.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who decides that.")] = "",
    reason: Annotated[str, typer.Option(help="Why; names no patient.")] = "The reader is gone.",
    as_json: AsJson = False,
) -> None:
    """The reading list in its order: how long each study waits, and why it stands where it stands."""
    from node.commands import worklist as listing
    from node.settings import load

    if free is not None and not by:
        raise BadSetting("--free needs --by.", fix="Say who decides.")
    with records_of(settings) as records:
        if free is not None:
            listing.give_up(records, free, by=by, why=reason)
        found = listing.worklist(load(settings), records, everything=everything)
    show_result(found, as_json=as_json, text=listing.text)


def flags(
    settings: SettingsFile = USUAL_SETTINGS,
    limit: Annotated[int, typer.Option(min=1, help="How many verdicts, newest first.")] = 30,
    known: Annotated[
        str | None, typer.Option(metavar="JOB", help="The receivers have what was given up of this job: end its alarm.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
    as_json: AsJson = False,
) -> None:
    """Verdicts of triage, and who was told. Exit status 1 if somebody did not acknowledge one in time."""
    from node.commands import flags as telling

    with records_of(settings) as records:
        if known is not None:
            telling.settle(records, known, by=by)
        found = telling.flags(records, limit=limit)
    show_result(found, as_json=as_json, text=telling.text)
    if found["alarms"]:
        raise typer.Exit(1)


def drift(settings: SettingsFile = USUAL_SETTINGS, as_json: AsJson = False) -> None:
    """Whether triage still behaves as when each scanner was accepted. Exit status 1 if it is believed not to."""
    from node.commands import drift as drifting
    from node.settings import load

    with records_of(settings) as records:
        found = drifting.drift(records, load(settings).worklist.scanners)
    show_result(found, as_json=as_json, text=drifting.text)
    if any(one["warnings"] for one in found["scanners"].values()):
        raise typer.Exit(1)
