"""The command lines by which a person decides about work: again, let go, end, stop, go on, take back."""

from typing import Annotated

import typer

from node.commands.terminal import USUAL_SETTINGS, AsJson, SettingsFile, records_of, show_result
from node.errors import BadSetting


def replay(
    series: Annotated[str, typer.Argument(help="Series Instance UID, or the start of a job's id.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Run again what was held, refused, unmatched or not delivered. The running node picks it up."""
    from node.commands import look

    with records_of(settings) as records:
        asked = look.replay(records, series)
    show_result({"asked": asked}, as_json=as_json, text=lambda found: "Asked for: " + "; ".join(found["asked"]))


def release(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node jobs`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it may leave.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Let a result leave that a check held; it is made again and marked CAUTION. The running node picks it up."""
    from node.commands import decide

    with records_of(settings) as records:
        done = decide.release(records, job, by=by, why=reason)
    show_result(done, as_json=as_json, text=lambda found: f"Released, with a caution: {', '.join(found['findings'])}")


def discard(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node jobs`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it is not wanted.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """End a job that was stopped; nothing of it leaves the node, whatever is replayed."""
    from node.commands import decide

    with records_of(settings) as records:
        done = decide.discard(records, job, by=by, why=reason)
    show_result(done, as_json=as_json, text=lambda found: f"Discarded: {found['job'][:12]}")


def pause(
    pipeline: Annotated[list[str] | None, typer.Argument(help="Pipelines, as in the rules.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every pipeline that a rule names.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Only say what is paused.")] = False,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option(help="Why; names no patient.")] = "",
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Stop what a pipeline makes and sends. What comes in is taken and waits for `resume`; nothing is lost."""
    from node.commands import pausing
    from node.settings import load

    rules = {rule.pipeline for rule in load(settings).rules}
    names = rules if everything else set(pipeline or ())
    if not names and not listed:
        raise BadSetting("No pipeline was named.", fix="Name one, or say --all or --list.")
    with records_of(settings) as records:
        found = pausing.standing(records) if listed else pausing.pause(records, names, rules, by=by, why=reason)
    show_result(found, as_json=as_json, text=pausing.text)


def resume(
    pipeline: Annotated[list[str] | None, typer.Argument(help="Pipelines; none with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one that is paused.")] = False,
    by: Annotated[str, typer.Option(help="Who decides.")] = "",
    reason: Annotated[str, typer.Option(help="Why; names no patient.")] = "",
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Let paused pipelines go on; what waited is made and sent. The running node picks it up."""
    from node.commands import pausing

    if not pipeline and not everything:
        raise BadSetting("No pipeline was named.", fix="Name one, or say --all.")
    with records_of(settings) as records:
        found = pausing.resume(records, () if everything else set(pipeline or ()), by=by, why=reason)
    show_result(found, as_json=as_json, text=pausing.text)


def withdraw(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node flags`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it no longer holds; receivers are told, so name no patient.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Take back the verdict of a triage: whoever was told of it is told, and its objects are rejected."""
    from node.commands import decide

    with records_of(settings) as records:
        done = decide.withdraw(records, job, by=by, why=reason)
    told = ", ".join(done["channels"]) or "nobody"
    show_result(done, as_json=as_json, text=lambda _: f"Withdrawn; told: {told}")
