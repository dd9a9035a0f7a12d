"""The command line of `imaging-node records`: whether the records fit the program, and how they come to fit."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.commands.terminal import USUAL_SETTINGS, AsJson, SettingsFile, out

app = typer.Typer(help="The tables of the records: upgrade and roll back.", no_args_is_help=True)


@app.command()
def status(settings: SettingsFile = USUAL_SETTINGS, as_json: AsJson = False) -> None:
    """Whether the records fit this program. Exit status 1 if they do not; where there are none yet, they do."""
    from node.records import revisions

    found = revisions.standing(_state(settings))
    text = {
        revisions.Fit.NONE: f"There are no records yet; this program makes them with tables {found.program}.",
        revisions.Fit.FITS: f"The records have tables {found.records}, as this program wants them.",
        revisions.Fit.OLDER: f"The records have tables {found.records}, this program wants {found.program}: it "
        "upgrades them when it starts, or with `imaging-node records upgrade`.",
        revisions.Fit.NEWER: f"The records have tables {found.records}, this program knows {found.program}. Run the "
        f"program that wrote them, or have that one do `imaging-node records downgrade --to {found.program}`.",
    }[found.fit]
    _say({"records": found.records, "program": found.program, "fit": found.fit.value}, text, as_json=as_json)
    if found.fit not in (revisions.Fit.NONE, revisions.Fit.FITS):
        raise typer.Exit(1)


@app.command("try")
def try_upgrade(settings: SettingsFile = USUAL_SETTINGS, as_json: AsJson = False) -> None:
    """Upgrade a copy of the records and judge it; a node may run meanwhile. Exit status 2 if it would fail."""
    from node.records import revisions

    state = _state(settings)
    if revisions.standing(state).fit is revisions.Fit.NONE:
        _say({"changed": False}, "There are no records yet.", as_json=as_json)
        return
    change = revisions.trial(state)
    text = f"A copy went from {change.since} to {change.to} with all of {sum(change.rows.values())} rows."
    _say(_plain(change, changed=change.since != change.to), text, as_json=as_json)


@app.command()
def upgrade(settings: SettingsFile = USUAL_SETTINGS, as_json: AsJson = False) -> None:
    """Bring the records to this program's tables, tried on a copy first; the node must be stopped."""
    from node.records import revisions

    _report(revisions.upgrade(_state(settings)), as_json=as_json)


@app.command()
def downgrade(
    to: Annotated[str, typer.Option(help="What the older program wants: `records status` of it says so.")],
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """Bring the records to the tables of an older program, by the newer one; the node must be stopped."""
    from node.records import revisions

    _report(revisions.downgrade(_state(settings), to), as_json=as_json)


def _report(change: Any, *, as_json: bool) -> None:
    if change is None:
        _say({"changed": False}, "The records have these tables already.", as_json=as_json)
        return
    text = f"From {change.since} to {change.to}: {sum(change.rows.values())} rows; as they were: {change.copy}"
    if change.kept:
        text += f"; kept aside or brought back: {', '.join(f'{n} of {name}' for name, n in change.kept.items())}"
    _say(_plain(change, changed=True), text, as_json=as_json)


def _plain(change: Any, *, changed: bool) -> dict[str, Any]:
    copy = None if change.copy is None else str(change.copy)
    return {
        "changed": changed, "since": change.since, "to": change.to, "rows": change.rows, "kept": change.kept,
        "copy": copy,
    }  # fmt: skip


def _state(settings_file: Path) -> Path:
    from node.log import configure
    from node.settings import load

    configure("error", part="records")
    return load(settings_file).node.state.absolute()


def _say(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        out.print(text)
