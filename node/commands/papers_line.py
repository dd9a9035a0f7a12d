"""The command line of `imaging-node papers`; what it does is in `papers.py` beside it."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

_USUAL: Final = Path("/etc/imaging-node/node.toml")


def papers(
    to: Annotated[Path, typer.Option(help="Folder for them.")],
    settings: Annotated[
        Path, typer.Option("-c", "--settings", envvar="IMAGING_NODE_SETTINGS", help="The settings file (TOML).")
    ] = _USUAL,
) -> None:
    """What IT asks for, of a configuration: statement, ports, data flow, security answers, SBOM, licences."""
    from node.commands.papers import papers as write

    for path in write(settings, to):
        sys.stdout.write(f"{path}\n")
