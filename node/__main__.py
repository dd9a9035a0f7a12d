"""The command line of `imaging-node`. Exit status 0 only when what was asked happened; 2 for a bad setting."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from node.commands import (
    backup_line,
    engines_line,
    kernels_line,
    papers_line,
    phantom_line,
    records_line,
    simulate_line,
    texts,
)
from node.errors import BadSetting, NodeError

app = typer.Typer(
    help="A node beside the PACS: scans in, labelled and traceable derived series back. Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(engines_line.app, name="engines")
app.add_typer(kernels_line.app, name="kernels")
app.add_typer(records_line.app, name="records")
app.command()(phantom_line.phantom)
app.command()(papers_line.papers)
app.command("simulate-worklist")(simulate_line.simulate_worklist)
app.command("backup")(backup_line.backup)
app.command("restore")(backup_line.restore)
_out, _err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)

SettingsFile = Annotated[
    Path, typer.Option("-c", "--settings", envvar="IMAGING_NODE_SETTINGS", help="The settings file (TOML).")
]
USUAL_SETTINGS = Path("/etc/imaging-node/node.toml")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


class Part(StrEnum):
    """The processes of a node."""

    RECEIVER = "receiver"
    WORKER = "worker"
    PAGE = "page"
    WEB = "web"  # STOW-RS and Orthanc sources


@app.command()
def demo(
    as_json: AsJson = False,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the files.")] = Path("demo-out"),
    slices: Annotated[int, typer.Option(min=3, max=400, help="Slices of the phantom.")] = 40,
) -> None:
    """Everything on this machine: a phantom series through the whole node, and a picture of the result."""
    from node.demo.demo import demo as run_demo

    with _progress() as say:
        result = run_demo(out.absolute(), slices=slices, say=say)
    _print(result, as_json=as_json, text=texts.demo)


@app.command()
def run(
    part: Annotated[Part | None, typer.Argument(help="One part only, for containers.")] = None,
    settings: SettingsFile = USUAL_SETTINGS,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    slot: Annotated[int, typer.Option(hidden=True)] = 1,
    ports: Annotated[tuple[int, int] | None, typer.Option(hidden=True)] = None,
) -> None:
    """The node, or one of its parts, until it is told to stop."""
    from node.commands import run as running

    if part is None:
        raise typer.Exit(running.node(settings))
    running.part(part.value, settings, parent=parent, slot=slot, ports=ports)


@app.command()
def process(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file or a folder of them.")],
    to: Annotated[Path, typer.Option(help="Folder for the derived series.")],
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline; default: all that match.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the pipeline; repeatable.")
    ] = None,
    engines: Annotated[
        Path | None, typer.Option("-c", "--settings", help="What runs the networks, from a settings file.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Files through the same flow, no network."""
    from node.commands.process import process as run_process
    from node.log import configure

    configure("error", part="process")
    with _progress() as say:
        outcome = run_process(
            source.absolute(),
            to.absolute(),
            pipeline=pipeline,
            parameters=dict(_parameter(text) for text in given or ()),
            engines=engines,
            threads=threads,
            progress=lambda what, done, total: say(f"{what} {done} of {total}", done / total),
        )
    result = {
        "received": outcome.received,
        "delivered": outcome.delivered,
        "refused": outcome.refused,
        "series": outcome.series,
    }
    _print(result, as_json=as_json, text=texts.process)
    if not outcome.delivered:
        raise typer.Exit(1)


@app.command()
def conformance(settings: SettingsFile = USUAL_SETTINGS) -> None:
    """The DICOM conformance statement of a configuration, as Markdown."""
    from node.commands.conformance import conformance as written

    sys.stdout.write(written(settings))


@app.command()
def check(
    settings: SettingsFile = USUAL_SETTINGS,
    local: Annotated[
        bool, typer.Option("--local", help="Only whether the node here runs and serves: for health checks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Settings, disk, engines, peers, licences and clock: all green, or why not."""
    from node.commands.check import check as run_check

    lines = []
    for line in run_check(settings, local=local):
        lines.append(line)
        if not as_json:
            _out.print(texts.check_line(line))
    if as_json:
        sys.stdout.write(json.dumps({"lines": [vars_of(line) for line in lines]}) + "\n")
    if any(line.good is False for line in lines):
        raise typer.Exit(1)


@app.command()
def jobs(
    settings: SettingsFile = USUAL_SETTINGS,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
    as_json: AsJson = False,
) -> None:
    """The newest jobs and the state they are in."""
    from node.commands import look

    with _records(settings) as records:
        _print({"jobs": look.listing(records, limit=limit)}, as_json=as_json, text=texts.jobs)


@app.command()
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


@app.command()
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
    with _records(settings) as records:
        if free is not None:
            listing.give_up(records, free, by=by, why=reason)
        found = listing.worklist(load(settings), records, everything=everything)
    _print(found, as_json=as_json, text=listing.text)


@app.command()
def show(
    series: Annotated[str, typer.Argument(help="Series Instance UID, or the start of a job's id.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """All that is known of a series: what came, why it matched or not, what was made, where it went."""
    from node.commands import look
    from node.settings import load

    with _records(settings) as records:
        _print(look.show(records, series, load(settings).assemble), as_json=as_json, text=texts.show)


@app.command()
def replay(
    series: Annotated[str, typer.Argument(help="Series Instance UID, or the start of a job's id.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Run again what was held, refused, unmatched or not delivered. The running node picks it up."""
    from node.commands import look

    with _records(settings) as records:
        asked = look.replay(records, series)
    _print({"asked": asked}, as_json=as_json, text=lambda found: "Asked for: " + "; ".join(found["asked"]))


@app.command()
def release(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node jobs`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it may leave.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Let a result leave that a check held; it is made again and marked CAUTION. The running node picks it up."""
    from node.commands import decide

    with _records(settings) as records:
        done = decide.release(records, job, by=by, why=reason)
    _print(done, as_json=as_json, text=lambda found: f"Released, with a caution: {', '.join(found['findings'])}")


@app.command()
def discard(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node jobs`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it is not wanted.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """End a job that was stopped; nothing of it leaves the node, whatever is replayed."""
    from node.commands import decide

    with _records(settings) as records:
        done = decide.discard(records, job, by=by, why=reason)
    _print(done, as_json=as_json, text=lambda found: f"Discarded: {found['job'][:12]}")


@app.command()
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
    with _records(settings) as records:
        found = pausing.standing(records) if listed else pausing.pause(records, names, rules, by=by, why=reason)
    _print(found, as_json=as_json, text=pausing.text)


@app.command()
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
    with _records(settings) as records:
        found = pausing.resume(records, () if everything else set(pipeline or ()), by=by, why=reason)
    _print(found, as_json=as_json, text=pausing.text)


@app.command()
def withdraw(
    job: Annotated[str, typer.Argument(help="The start of a job's id, as in `imaging-node flags`.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why it no longer holds; receivers are told, so name no patient.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Take back the verdict of a triage: whoever was told of it is told, and its objects are rejected."""
    from node.commands import decide

    with _records(settings) as records:
        done = decide.withdraw(records, job, by=by, why=reason)
    _print(done, as_json=as_json, text=lambda found: f"Withdrawn; told: {', '.join(found['channels']) or 'nobody'}")


@app.command()
def purge(
    settings: SettingsFile = USUAL_SETTINGS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove now what was kept for `node.keep_days`; the running node does it once an hour."""
    from node.commands import tidy
    from node.log import configure

    configure("error", part="purge")
    with _records(settings) as records:
        _print(tidy.purge(records, settings, dry_run=dry_run), as_json=as_json, text=tidy.text)


@app.command()
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

    with _records(settings) as records:
        if known is not None:
            telling.settle(records, known, by=by)
        found = telling.flags(records, limit=limit)
    _print(found, as_json=as_json, text=telling.text)
    if found["alarms"]:
        raise typer.Exit(1)


@app.command()
def drift(settings: SettingsFile = USUAL_SETTINGS, as_json: AsJson = False) -> None:
    """Whether triage still behaves as when each scanner was accepted. Exit status 1 if it is believed not to."""
    from node.commands import drift as drifting
    from node.settings import load

    with _records(settings) as records:
        found = drifting.drift(records, load(settings).worklist.scanners)
    _print(found, as_json=as_json, text=drifting.text)
    if any(one["warnings"] for one in found["scanners"].values()):
        raise typer.Exit(1)


@app.command()
def fetch(
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="The archive: a destination of kind dicom.")],
    study: Annotated[str | None, typer.Option(metavar="UID", help="Study Instance UID.")] = None,
    series: Annotated[str | None, typer.Option(metavar="UID", help="Series Instance UID.")] = None,
    get: Annotated[bool, typer.Option("--get", help="By C-GET; default: C-MOVE to the running node.")] = False,
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Ask an archive for a study or a series. Exit status 0 only if all of it came."""
    from node.commands.fetch import fetch as run_fetch
    from node.log import configure

    configure("error", part="fetch")
    with _progress() as say:
        fetched = run_fetch(
            settings,
            source,
            study=study,
            series=series,
            get=get,
            progress=lambda done, total: say(f"fetching {done} of {total}", done / max(total, 1)),
        )
    _print(asdict(fetched), as_json=as_json, text=texts.fetch)
    if fetched.trouble:
        raise typer.Exit(1)


@app.command()
def evaluate(
    pipeline: Annotated[str, typer.Argument(help="One that ships, as in ct-denoise or head-ct-triage.")],
    to: Annotated[Path | None, typer.Option(help="Folder for the plots; default: none are drawn.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the public data; default: ../shared/data.")] = None,
    as_json: AsJson = False,
) -> None:
    """Acceptance figures of a network on slices that training never saw. Minutes; needs the extra `train`."""
    from node.commands.evaluate import evaluate as run_evaluate

    _print(run_evaluate(pipeline, data=data, to=to), as_json=as_json, text=texts.evaluate)


@app.command()
def schema() -> None:
    """The JSON Schema of the settings file, for editors."""
    from node.settings.schema import text

    sys.stdout.write(text())


@app.command("version")
def print_version() -> None:
    """The version of the node."""
    _out.print(version("imaging-node"))


def _parameter(text: str) -> tuple[str, str | float]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise BadSetting(f"{text!a} sets nothing.", fix="Write it as in --set target=soft.")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def vars_of(line: Any) -> dict[str, Any]:
    return {"what": line.what, "good": line.good, "text": line.text}


@contextmanager
def _records(settings_file: Path) -> Iterator[Any]:
    from node.records.database import FILE_NAME, Records
    from node.settings import load

    state = load(settings_file).node.state.absolute()
    if not (state / FILE_NAME).exists():
        raise BadSetting(f"There are no records in {state} yet.", fix="Start the node once with `imaging-node run`.")
    with closing(Records(state)) as records:
        yield records


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error; standard output stays for the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        said = ""

        def say(what: str, fraction: float) -> None:
            nonlocal said
            bar.update(task, description=what, completed=fraction)
            if not _err.is_terminal and what.split(" ")[0] != said:
                said = what.split(" ")[0]
                _err.print(what)

        yield say


def _print(result: dict[str, Any], *, as_json: bool, text: Callable[[dict[str, Any]], Any]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        _out.print(text(result))


def main() -> None:
    """The console script: errors of ours become one line on standard error."""
    try:
        app()
    except NodeError as error:
        _err.print(f"imaging-node: {error}", markup=False)
        sys.exit(2 if isinstance(error, BadSetting) else 1)


if __name__ == "__main__":
    main()
