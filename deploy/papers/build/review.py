"""What was looked at by a person (`reviewed.toml`), and whether it still fits what the packages say."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from license_expression import ExpressionError, get_spdx_licensing
from packages import Package, Stale

KINDS: Final = ("permissive", "weak", "copyleft")
"""In order of what they ask for."""
_SPDX: Final = get_spdx_licensing()


@dataclass(frozen=True, kw_only=True)
class Inside:
    """A native library, or a part that is linked in, inside the wheel of a package.

    licence: SPDX expression; empty: see the wheel's own notices
    told_by: what says that it is there
    """

    package: str
    name: str
    version: str
    licence: str
    purl: str
    told_by: str


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The list. Every method that answers raises Stale where somebody has to look first."""

    licences: dict[str, tuple[str, str]]
    packages: dict[str, dict[str, str]]
    inside: tuple[dict[str, str], ...]
    absent: dict[str, list[str]]
    debian: dict[str, dict[str, str]]
    data: dict[str, str]

    def licence(self, package: Package) -> str:
        """Its SPDX expression."""
        says, entry = package.says(), self.packages.get(package.name)
        if package.installed is None and (entry is None or entry["says"]):
            raise Stale(
                f"{package.name} {package.version} is not installed here, and reviewed.toml knows no licence of it."
            )
        if entry is not None and says != entry["says"]:
            if package.installed is None or not self._fits(says):
                raise Stale(f"The licence of {package.name} {package.version} is {says!r} now; look at it again.")
            return says
        return self.known(says if entry is None else entry["licence"], package.name)

    def remark(self, package: Package) -> str:
        """What else a reader has to know."""
        return self.packages.get(package.name, {}).get("remark", "")

    def known(self, expression: str, name: str) -> str:
        """The expression, if all of its licences were looked at."""
        try:
            unknown = sorted(set(symbols(expression)) - self.licences.keys())
        except ExpressionError as error:
            raise Stale(
                f"The licence of {name}, {expression!r}, is no SPDX expression; add it to reviewed.toml."
            ) from error
        if unknown or not expression:
            raise Stale(
                f"The licence of {name}, {expression!r}, is not on the list: {', '.join(unknown) or 'nothing'}."
            )
        return expression

    def kind(self, expression: str) -> str:
        """The strictest kind that somebody who hands it on cannot choose away."""
        return KINDS[_strictest(_SPDX.parse(expression), self.licences)]

    def inside_of(self, package: Package) -> Iterator[Inside]:
        """The parts of its wheel that were found by hand."""
        for entry in self.inside:
            if entry["package"] == package.name and package.installed is not None:
                if entry["of"] != package.version:
                    raise Stale(
                        f"{entry['name']} was looked at in {package.name} {entry['of']}; the lock has "
                        f"{package.version}. Look again ({entry['told_by']})."
                    )
                licence = entry["licence"] and self.known(entry["licence"], entry["name"])
                yield Inside(
                    package=package.name,
                    name=entry["name"],
                    version=entry.get("version", ""),
                    licence=licence,
                    purl="",
                    told_by=entry["told_by"],
                )

    def data_licence(self, name: str, item: str) -> str:
        """What the licence of some data asks for."""
        if name not in self.data:
            raise Stale(f"The licence of the data {item!r}, {name!r}, is not on the list of reviewed.toml.")
        return self.data[name]

    def _fits(self, expression: str) -> bool:
        try:
            return bool(expression) and set(symbols(expression)) <= self.licences.keys()
        except ExpressionError:
            return False


def symbols(expression: str) -> list[str]:
    """Its licences, an exception together with what it is an exception of."""
    return [str(one) for one in _SPDX.license_symbols(expression, decompose=False)]


def _strictest(parsed: Any, licences: dict[str, tuple[str, str]]) -> int:
    parts = [_strictest(one, licences) for one in getattr(parsed, "args", ()) or ()]
    if not parts:
        return KINDS.index(licences[str(parsed)][0])
    return min(parts) if type(parsed).__name__ == "OR" else max(parts)


@cache
def reviewed(path: Path) -> Reviewed:
    """The list of a file."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return Reviewed(
        licences={name: (kind, asks) for name, (kind, asks) in raw["licences"].items()},
        packages=raw["packages"],
        inside=tuple(raw["inside"]),
        absent=raw["absent"],
        debian=raw["debian"],
        data=raw["data"],
    )
