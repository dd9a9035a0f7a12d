"""`imaging-node papers`: what a hospital's IT asks for, for one configuration."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Final

from node.commands.conformance import conformance
from node.errors import BadSetting
from node.papers.connections import connections
from node.papers.mds2 import document
from node.papers.picture import picture
from node.papers.ports import sheet
from node.settings import load

SHIPPED: Final = Path(__file__).parents[1] / "papers" / "shipped"
"""Papers of the software, the same for every configuration; `make papers` writes them."""


def written(settings_file: Path) -> dict[str, str]:
    """The papers of a configuration: file name -> content. Raises BadSetting."""
    settings = load(settings_file)
    found, program = connections(settings), version("imaging-node")
    return {
        "CONFORMANCE.md": conformance(settings_file),
        "PORTS.md": sheet(settings, found, version=program),
        "MDS2.md": document(settings, found, version=program),
        "data-flow.svg": picture(settings, found, version=program),
    }


def papers(settings_file: Path, to: Path, *, shipped: Path = SHIPPED) -> list[Path]:
    """Write all papers into a folder, those of the software among them. Returns the files. Raises BadSetting."""
    content = written(settings_file)
    copies = sorted(path for path in shipped.iterdir() if path.is_file()) if shipped.is_dir() else []
    if not copies:
        raise BadSetting(f"{shipped} holds no papers of the software.", fix="Install the node again, whole.")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (to / name).write_text(text, encoding="utf-8")
        for path in copies:
            shutil.copyfile(path, to / path.name)
    except OSError as error:
        raise BadSetting(f"{to} cannot be written: {error.strerror}.", fix="Name another folder with --to.") from error
    return [to / name for name in (*content, *(path.name for path in copies))]
