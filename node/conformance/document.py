"""Markdown in the small: sections that are numbered by their place, and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

_DEEPEST: Final = 6  # headings of Markdown


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what stands below it, and the sections inside.

    number: as PS3.2 Annex N counts, "N.5.2"; sections inside are counted by their place unless they have one
    """

    title: str
    number: str = ""
    text: tuple[str, ...] = ()
    parts: tuple["Section", ...] = field(default=())

    def lines(self, *, depth: int = 2) -> Iterable[str]:
        """The section as lines of Markdown."""
        yield from (f"{'#' * min(depth, _DEEPEST)} {self.number} {self.title}".replace("#  ", "# "), "")
        for paragraph in self.text:
            yield from (paragraph, "")
        for place, part in enumerate(self.parts, start=1):
            number = part.number or (f"{self.number}.{place}" if self.number else "")
            yield from Section(title=part.title, number=number, text=part.text, parts=part.parts).lines(depth=depth + 1)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown; a table without rows says so in words."""
    body = [[_cell(value) for value in row] for row in rows]
    if not body:
        return "None in this configuration."
    lines = [list(head), ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def contents(sections: Sequence[Section]) -> str:
    """The table of contents: numbers and titles, two levels deep."""
    lines = []
    for section in sections:
        lines.append(f"* {section.number} {section.title}")
        for place, part in enumerate(section.parts, start=1):
            lines.append(f"  * {part.number or f'{section.number}.{place}'} {part.title}")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
