"""The command line of `imaging-node`. Exit status 0 only when what was asked happened; 2 for a bad setting.

Each command is a function in a `*_line.py` of `node/commands/`, or here; `_COMMANDS` has them in the order of `--help`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.commands import (
    backup_line,
    deciding_line,
    engines_line,
    kernels_line,
    looking_line,
    papers_line,
    phantom_line,
    records_line,
    simulate_line,
    texts,
)
from node.commands.terminal import USUAL_SETTINGS, AsJson, SettingsFile, err, out, progress, records_of, show_result
from node.errors import BadSetting, NodeError

app = typer.Typer(
    help="A node beside the PACS: scans in, labelled and traceable derived series back. Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Part(StrEnum):
    """The processes of a node."""

    RECEIVER = "receiver"
    WORKER = "worker"
    PAGE = "page"
    WEB = "web"  # STOW-RS and Orthanc sources


def demo(
    as_json: AsJson = False,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the files.")] = Path("demo-out"),
    slices: Annotated[int, typer.Option(min=3, max=400, help="Slices of the phantom.")] = 40,
) -> None:
    """Everything on this machine: a phantom series through the whole node, and a picture of the result."""
    from node.demo.demo import demo as run_demo

    with progress() as say:
        result = run_demo(out.absolute(), slices=slices, say=say)
    show_result(result, as_json=as_json, text=texts.demo)


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
    with progress() as say:
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
    show_result(result, as_json=as_json, text=texts.process)
    if not outcome.delivered:
        raise typer.Exit(1)


def conformance(settings: SettingsFile = USUAL_SETTINGS) -> None:
    """The DICOM conformance statement of a configuration, as Markdown."""
    from node.commands.conformance import conformance as written

    sys.stdout.write(written(settings))


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
            out.print(texts.check_line(line))
    if as_json:
        sys.stdout.write(json.dumps({"lines": [vars_of(line) for line in lines]}) + "\n")
    if any(line.good is False for line in lines):
        raise typer.Exit(1)


def purge(
    settings: SettingsFile = USUAL_SETTINGS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove now what was kept for `node.keep_days`; the running node does it once an hour."""
    from node.commands import tidy
    from node.log import configure

    configure("error", part="purge")
    with records_of(settings) as records:
        show_result(tidy.purge(records, settings, dry_run=dry_run), as_json=as_json, text=tidy.text)


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
    with progress() as say:
        fetched = run_fetch(
            settings,
            source,
            study=study,
            series=series,
            get=get,
            progress=lambda done, total: say(f"fetching {done} of {total}", done / max(total, 1)),
        )
    show_result(asdict(fetched), as_json=as_json, text=texts.fetch)
    if fetched.trouble:
        raise typer.Exit(1)


def evaluate(
    pipeline: Annotated[str, typer.Argument(help="One that ships, as in ct-denoise or head-ct-triage.")],
    to: Annotated[Path | None, typer.Option(help="Folder for the plots; default: none are drawn.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the public data; default: ../shared/data.")] = None,
    as_json: AsJson = False,
) -> None:
    """Acceptance figures of a network on slices that training never saw. Minutes; needs the extra `train`."""
    from node.commands.evaluate import evaluate as run_evaluate

    show_result(run_evaluate(pipeline, data=data, to=to), as_json=as_json, text=texts.evaluate)


def schema() -> None:
    """The JSON Schema of the settings file, for editors."""
    from node.settings.schema import text

    sys.stdout.write(text())


def print_version() -> None:
    """The version of the node."""
    out.print(version("imaging-node"))


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


_COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    demo,
    run,
    check,
    phantom_line.phantom,
    process,
    looking_line.top,
    looking_line.jobs,
    looking_line.show,
    deciding_line.replay,
    deciding_line.release,
    deciding_line.discard,
    deciding_line.pause,
    deciding_line.resume,
    looking_line.worklist,
    looking_line.flags,
    deciding_line.withdraw,
    looking_line.drift,
    fetch,
    purge,
    backup_line.backup,
    backup_line.restore,
    papers_line.papers,
    conformance,
    schema,
    simulate_line.simulate_worklist,
    evaluate,
)
for _command in _COMMANDS:
    app.command()(_command)
app.command("version")(print_version)
app.add_typer(engines_line.app, name="engines")
app.add_typer(kernels_line.app, name="kernels")
app.add_typer(records_line.app, name="records")


def main() -> None:
    """The console script: errors of ours become one line on standard error."""
    try:
        app()
    except NodeError as error:
        err.print(f"imaging-node: {error}", markup=False)
        sys.exit(2 if isinstance(error, BadSetting) else 1)


if __name__ == "__main__":
    main()
