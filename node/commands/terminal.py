"""What the command lines share: options, consoles, the records, a bar, and how a result is printed."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from node.errors import BadSetting

USUAL_SETTINGS: Final = Path("/etc/imaging-node/node.toml")
SettingsFile = Annotated[
    Path, typer.Option("-c", "--settings", envvar="IMAGING_NODE_SETTINGS", help="The settings file (TOML).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def records_of(settings_file: Path) -> Iterator[Any]:
    """The records that the settings name. Raises BadSetting where no node ever ran."""
    from node.records.database import FILE_NAME, Records
    from node.settings import load

    state = load(settings_file).node.state.absolute()
    if not (state / FILE_NAME).exists():
        raise BadSetting(f"There are no records in {state} yet.", fix="Start the node once with `imaging-node run`.")
    with closing(Records(state)) as records:
        yield records


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error; standard output stays for the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        said = ""

        def say(what: str, fraction: float) -> None:
            nonlocal said
            bar.update(task, description=what, completed=fraction)
            if not err.is_terminal and what.split(" ")[0] != said:
                said = what.split(" ")[0]
                err.print(what)

        yield say


def show_result(result: dict[str, Any], *, as_json: bool, text: Callable[[dict[str, Any]], Any]) -> None:
    """For a program or for a person. text: the result as Rich prints it"""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        out.print(text(result))
