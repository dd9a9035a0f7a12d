"""The command line of `imaging-node papers`; what it does is in `papers.py` beside it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from node.commands.terminal import USUAL_SETTINGS, SettingsFile


def papers(
    to: Annotated[Path, typer.Option(help="Folder for them.")],
    settings: SettingsFile = USUAL_SETTINGS,
) -> None:
    """What IT asks for, of a configuration: statement, ports, data flow, security answers, SBOM, licences."""
    from node.commands.papers import papers as write

    for path in write(settings, to):
        sys.stdout.write(f"{path}\n")
