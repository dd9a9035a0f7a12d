"""LICENCES.md and NOTICES.txt: what may be done with the node's parts, and the texts that go along with them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Final

from inside import parts
from networks import Network
from packages import Package
from review import Reviewed, symbols

_CRATE: Final = "pkg:cargo/"
_LONGEST_TEXT: Final = 100_000  # characters; longer ones stay in the wheel, where every installation has them

_TEMPLATE: Final = Path(__file__).with_suffix(".md")


def page(packages: Sequence[Package], networks: Sequence[Network], known: Reviewed, *, locks: str) -> str:
    """LICENCES.md. Raises Stale for what nobody looked at."""
    rows = [(one, known.licence(one)) for one in packages]
    every = [(one, text) for one, text in rows if not one.extras]
    more = [(one, text) for one, text in rows if one.extras]
    asking = [(one, text) for one, text in rows if known.kind(text) != "permissive"]
    inside = [(one, part) for one in packages for part in parts(one, known)]
    crates = Counter(one.name for one, part in inside if part.purl.startswith(_CRATE))
    used = {name for _, text in rows for name in symbols(text)}
    used |= {name for _, part in inside if part.licence for name in symbols(part.licence)}
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        locks=locks[:16],
        asking=_table(
            ("Package", "Licence", "Kind", "In", "Remark"),
            (
                (_name(p), text, known.kind(text), ", ".join(p.extras) or "every node", known.remark(p))
                for p, text in asking
            ),
        ),
        every_count=len(every),
        every=_table(("Package", "Licence", "Text", "Remark"), (_row(one, text, known) for one, text in every)),
        more_count=len(more),
        more=_table(
            ("Package", "Extra", "Licence", "Text", "Remark"),
            ((_name(one), ", ".join(one.extras), *_row(one, text, known)[1:]) for one, text in more),
        ),
        crates="; ".join(f"{count} crates of Rust in {name} stand there only" for name, count in crates.items()) + ".",
        inside=_table(
            ("In", "Part", "Version", "Licence", "Told by"),
            (
                (one.name, part.name, part.version or "not told", part.licence or "see its notices", part.told_by)
                for one, part in inside
                if not part.purl.startswith(_CRATE)
            ),
        ),
        data=_table(
            ("Network", "Data", "Used for", "Source", "Licence"),
            ((net.name, d.item, d.used_for, d.source, d.licence) for net in networks for d in net.datasets),
        ),
        data_licences="\n".join(f"* {name}: {asks}" for name, asks in sorted(_data_licences(networks, known).items())),
        citations="\n".join(f"* {net.name}: {net.citations}" for net in networks if net.citations),
        licences=_table(("Licence", "Kind", "Asks for"), ((name, *known.licences[name]) for name in sorted(used))),
    )


def notices(packages: Sequence[Package]) -> str:
    """NOTICES.txt: the licence texts of all packages, each once."""
    owners: dict[str, list[str]] = {}
    text_of: dict[str, str] = {}
    left = []
    for one in packages:
        for name, text in one.texts():
            if len(text) > _LONGEST_TEXT:
                left.append(f"{one.name} {one.version}: {name}")
                continue
            tidy = "\n".join(line.rstrip() for line in text.strip().splitlines())
            key = hashlib.sha256(" ".join(tidy.split()).encode()).hexdigest()
            text_of.setdefault(key, tidy)
            owners.setdefault(key, []).append(f"{one.name} {one.version}: {name}")
    silent = [f"{one.name} {one.version}" for one in packages if one.installed is not None and not one.texts()]
    away = [f"{one.name} {one.version}" for one in packages if one.installed is None]
    lines = [
        "Licence texts and notices of the packages that imaging-node brings; see LICENCES.md.",
        "",
        f"Too long for here, in the wheel of every installation: {'; '.join(left) or 'none'}.",
        f"Without a text in their wheel: {'; '.join(silent) or 'none'}.",
        f"Not in the environment that wrote this: {'; '.join(away) or 'none'}.",
    ]
    for key, names in owners.items():
        lines += ["", "=" * 100, *sorted(set(names)), "=" * 100, "", text_of[key]]
    return "\n".join(lines) + "\n"


def _name(one: Package) -> str:
    return f"{one.name} {one.version}"


def _row(one: Package, licence: str, known: Reviewed) -> tuple[str, str, str, str]:
    text = "NOTICES.txt" if one.texts() else "none in its wheel" if one.installed is not None else "not here"
    return _name(one), licence, text, known.remark(one)


def _data_licences(networks: Sequence[Network], known: Reviewed) -> dict[str, str]:
    """Licence -> what it asks for, of all data."""
    return {data.licence: known.data_licence(data.licence, data.item) for net in networks for data in net.datasets}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*head], ["---"] * len(head), *body))
