"""The command lines of `imaging-node backup` and `imaging-node restore`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from node.commands.terminal import USUAL_SETTINGS, AsJson, SettingsFile, err, out
from node.errors import BadSetting


def backup(
    to: Annotated[
        Path | None, typer.Option(help="Folder of the backups, on another disk; each is a folder in it.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Take none; read every byte of one, or of the newest in a folder.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove older ones of this node but so many.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="With the keys and secrets that the settings name.")] = False,
    settings: SettingsFile = USUAL_SETTINGS,
    as_json: AsJson = False,
) -> None:
    """A whole copy of the node's state, while it runs. Exit status 1 if the node itself lacks files that it names."""
    from node.log import configure

    configure("error", part="backup")
    if (to is None) == (verify is None):
        raise BadSetting("`imaging-node backup` needs --to or --verify.", fix="Name a folder with one of them.")
    found = _take(settings, to, keep=keep, keys=keys) if to is not None else _verify(verify or Path())
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        out.print(_text(found))
    if found["missing"] or found.get("wrong"):
        raise typer.Exit(1)


def restore(
    folder: Annotated[Path, typer.Argument(help="A backup, or a folder of them: then the newest.")],
    settings: SettingsFile = USUAL_SETTINGS,
    aside: Annotated[
        bool, typer.Option("--aside", help="Move what the state folder holds into a folder of its own there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the state folder of the settings from a backup; the node must be stopped."""
    from node.backup.restoring import restore as run_restore
    from node.commands.backup import report, told
    from node.log import configure
    from node.settings import load

    configure("error", part="restore")
    chosen = load(settings)
    done = run_restore(chosen, folder, aside=aside, progress=_say())
    found = report(done, chosen, settings)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        out.print(told(found))


def _take(settings_file: Path, to: Path, *, keep: int | None, keys: bool) -> dict[str, Any]:
    from node.backup.taking import take
    from node.settings import load

    say = _say()
    taken = take(
        load(settings_file), settings_file, to, keep=keep, keys=keys,
        progress=lambda done, total: say("copying files", done, total),
    )  # fmt: skip
    for warning in taken.warnings:
        err.print(f"imaging-node: {warning}", markup=False)
    return {
        "folder": str(taken.folder),
        "taken_at": taken.found.taken_at,
        "files": len(taken.found.files),
        "bytes": taken.found.bytes,
        "linked": taken.linked,
        "missing": list(taken.found.missing),
        "removed": list(taken.removed),
        "warnings": list(taken.warnings),
    }


def _verify(folder: Path) -> dict[str, Any]:
    from node.backup import manifest, verifying

    one = manifest.one_of(folder.absolute())
    found, say = manifest.read(one), _say()
    wrong = verifying.faults(one, found, progress=lambda done, total: say("reading bytes", done, total))
    return {
        "folder": str(one),
        "taken_at": found.taken_at,
        "files": len(found.files),
        "bytes": found.bytes,
        "missing": list(found.missing),
        "wrong": wrong,
    }


def _text(found: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["taken_at"]))
    lines = [f"{found['folder']}: {found['files']} files, {found['bytes'] >> 20} MB, of {at}"]
    if "linked" in found:
        lines.append(f"{found['linked']} of them take no room of their own (hard links)")
        lines += [f"removed: {name}" for name in found["removed"]]
    else:
        lines += [f"wrong: {one}" for one in found["wrong"]] or ["Every byte is as it was."]
    lines += [f"missing in the node itself: {name}" for name in found["missing"]]
    return "\n".join(lines)


def _say() -> Any:
    """Progress on standard error, a line for each tenth."""
    said = [""]

    def say(what: str, done: int, total: int) -> None:
        text = f"{what}: {10 * done // max(total, 1) * 10} %"
        if text != said[0]:
            said[0] = text
            err.print(text)

    return say
