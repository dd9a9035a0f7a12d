"""The command line of `imaging-node kernels`; what it does is in `kernels.py` beside it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.commands.terminal import out

app = typer.Typer(help="Reconstruction kernels: measure one.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `measure` a command of a group while it is the only one."""


@app.command()
def measure(
    series: Annotated[Path, typer.Argument(metavar="IN", help="A folder: one series of a phantom with flat parts.")],
    reference: Annotated[
        Path | None, typer.Option(help="A folder: the same raw data with a kernel whose curve is known.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("-c", "--settings", help="The settings file, for kernels of yours as reference.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """The curve of a kernel as a table for the settings; exit status 1 if no kernel that the network knows is near."""
    from node.commands import kernels
    from node.settings import load

    of_site = [kernel.measured() for kernel in load(settings).kernels] if settings else []
    found = kernels.measure(series.absolute(), reference.absolute() if reference else None, of_site)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found["near"]:
        out.print(found["table"], markup=False)
        if reference is None:
            out.print("# Noise alone gives the shape of the curve; noise_kept needs a reference.", markup=False)
    if not found["near"]:
        share = f"{100 * found['off']:.0f} %"
        typer.echo(f"The curve is {share} off every kernel that the network knows: do not use it.", err=True)
        raise typer.Exit(1)
