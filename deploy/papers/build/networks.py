"""The networks that ship with the node: digests, figures and the data that made them, from specifications and cards."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of a card's table of data."""

    item: str
    used_for: str
    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network. figures: its lines of acceptance; citations: whom its data want named."""

    name: str
    version: str
    sha256: str
    title: str
    validation_level: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    citations: str
    limits: tuple[str, ...]
    figures: tuple[dict[str, Any], ...]


def networks(engines: Path) -> list[Network]:
    """All networks of the folder, by name."""
    return [_network(engines, path) for path in sorted((engines / "specs").glob("*.toml"))]


def _network(engines: Path, path: Path) -> Network:
    spec = tomllib.loads(path.read_text(encoding="utf-8"))
    card = (engines / "cards" / f"{path.stem}.md").read_text(encoding="utf-8")
    figures = json.loads((engines / "cards" / f"{path.stem}.json").read_text(encoding="utf-8"))
    cited = re.search(r"^Citations?: (.*?)(?= Held-back|\n\n)", card, re.MULTILINE | re.DOTALL)
    return Network(
        name=spec["name"],
        version=spec["version"],
        sha256=spec["sha256"],
        title=card.splitlines()[0].removeprefix("# "),
        validation_level=spec["validation_level"],
        inputs=tuple(f"{one['name']}, {one['dtype']}, {one['unit']}" for one in spec["inputs"]),
        outputs=tuple(f"{one['name']}, {one['dtype']}, {one['unit']}" for one in spec["outputs"]),
        datasets=tuple(_datasets(card)),
        citations=" ".join(cited[1].split()) if cited else "",
        limits=tuple(_items(card, "(?:Limits|What cannot be claimed)")),
        figures=tuple(figures["acceptance"]),
    )


def _datasets(card: str) -> list[Dataset]:
    rows = re.search(r"^\| item \| used for \| source \| licence \|\n\|[-| ]+\n((?:\|.*\n)+)", card, re.MULTILINE)
    if rows is None:
        raise SystemExit(f"The card {card.splitlines()[0]!r} has no table of its data.")
    found: list[Dataset] = []
    for line in rows[1].splitlines():
        item, used_for, source, licence = (cell.strip().replace("**", "") for cell in line.strip("|").split("|"))
        if source == "as above":
            source, licence = found[-1].source, licence if licence != "as above" else found[-1].licence
        found.append(Dataset(item=item, used_for=used_for, source=source, licence=licence))
    return found


def _items(card: str, heading: str) -> list[str]:
    """The points below a heading (a pattern), or its paragraphs where it has none, each on one line."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    body = (section[1] if section else "").strip() + "\n\n"
    points = re.findall(r"^\* (.*?)(?=^\* |\n\n|\Z)", body, re.MULTILINE | re.DOTALL) or body.split("\n\n")
    return [" ".join(point.replace("**", "").split()) for point in points if point.strip()]
