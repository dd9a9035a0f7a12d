"""`imaging-node phantom`: a series of nobody, to try a site with."""

import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from node.errors import BadSetting

_TARGET = re.compile(r"(?P<title>[^@]{1,16})@(?P<host>[^@]+):(?P<port>\d{1,5})")


def phantom(
    to: Annotated[Path | None, typer.Option(help="Folder for the files.")] = None,
    send: Annotated[str | None, typer.Option(metavar="TITLE@HOST:PORT", help="Send it there by C-STORE.")] = None,
    calling: Annotated[str, typer.Option(help="The title that it is sent as.")] = "PHANTOM-CT",
    slices: Annotated[int, typer.Option(min=3, max=400, help="Slices of the phantom.")] = 40,
    seed: Annotated[int | None, typer.Option(min=0, help="The same number, the same series; else a new one.")] = None,
) -> None:
    """A CT series of a computed phantom, as files or sent: to see whether a new site does what it should."""
    from node.demo import scanner  # only here: the other commands start sooner without it
    from node.demo.phantom import make_series
    from node.spool import output_folder

    found = _TARGET.fullmatch(send) if send is not None else None
    if to is None and send is None:
        raise BadSetting("Nobody said where the phantom goes.", fix="Add --to FOLDER, or --send TITLE@HOST:PORT.")
    if send is not None and found is None:
        raise BadSetting(f"--send {send} is no TITLE@HOST:PORT.", fix="As in --send ORTHANC@127.0.0.1:4242.")
    seed = time.time_ns() // 1_000_000 if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="imaging-node-phantom-") as aside:
        folder = Path(aside) if to is None else to.absolute()
        output_folder(folder)
        files = make_series(folder, slices=slices, seed=seed)
        if to is not None:
            sys.stdout.write(f"{len(files)} slices in {folder}\n")
        if found is not None:
            port = int(found["port"])
            target = scanner.address(found["host"], port, called=found["title"], calling=calling)
            scanner.send(target, files)
            sys.stdout.write(f"{len(files)} slices taken by {send}\n")
