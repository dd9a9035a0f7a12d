"""The picture: lines of sections, as many as fit. Functions of facts and of a size, nothing else.

What needs a person stands first and keeps its lines longest; nothing is said by colour alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.top import sections
from node.top.facts import Facts
from node.top.sections import Section

TWO_COLUMNS: Final = 132
_LEAST_WIDTH: Final = 40
_MOST_LEFT: Final = 96  # characters: figures and bars need no more
_SPACE: Final = 3  # characters between two columns


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What a picture is drawn on: characters in a line, lines (None: as many as it takes), and whether only ASCII."""

    width: int
    height: int | None
    plain: bool = False


def picture(facts: Facts, paper: Paper) -> RenderableType:
    """The whole picture. No line of it is longer than the paper, and with a height there are no more lines."""
    width = max(_LEAST_WIDTH, paper.width)
    head = [_head(facts, width), *sections.warnings(facts)]
    rest = None if paper.height is None else max(3, paper.height - len(head))
    if width >= TWO_COLUMNS:
        left = min((width - _SPACE) // 2, _MOST_LEFT)
        sides = (left, width - _SPACE - left)
        grid = Table.grid(padding=(0, _SPACE, 0, 0))
        for side in sides:
            grid.add_column(width=side, no_wrap=True)
        made = zip((sections.LEFT, sections.RIGHT), sides, strict=True)
        grid.add_row(*(_lines(_fit(_made(makers, facts, side, paper.plain), rest)) for makers, side in made))
        return Group(*map(_one_line, head), grid)
    found = _made(sections.ALL, facts, width, paper.plain)
    return Group(*map(_one_line, head), _lines(_fit(found, rest)))


def _made(
    makers: Sequence[Callable[[Facts, int, bool], Section]], facts: Facts, width: int, plain: bool
) -> list[Section]:
    return [section for make in makers if (section := make(facts, width, plain)).lines]


def _fit(found: Sequence[Section], height: int | None) -> list[Text]:
    """The lines of sections within a height; the longest ones are cut first, and say so."""
    keep = [len(one.lines) for one in found]
    if height is not None:
        while sum(keep) > height and max(keep, default=0) > 1:
            spare = [count if count > one.least else 0 for count, one in zip(keep, found, strict=True)]
            longest = spare if any(spare) else [count if count > 1 else 0 for count in keep]
            place = max(range(len(keep)), key=lambda at: (longest[at], at))
            keep[place] -= 1
    lines: list[Text] = []
    for one, count in zip(found, keep, strict=True):
        shown = list(one.lines[:count])
        if count < len(one.lines) and count > 1:
            shown[-1] = Text(f"          ... and {len(one.lines) - count + 1} more", style="dim")
        lines += shown
    return lines if height is None else lines[:height]


def _lines(lines: Sequence[Text]) -> RenderableType:
    return Group(*map(_one_line, lines))


def _one_line(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "crop"  # what Rich puts at the end of a cut line is not ASCII
    return line


def _head(facts: Facts, width: int) -> Text:
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts.at))
    name = f"imaging-node {facts.version}  {facts.ae_title}  "
    state = ("running", "green") if facts.serves else ("DEGRADED", "bold red")
    if not facts.runs:
        state = ("NOT RUNNING", "bold red")
    room = max(1, width - len(name) - len(state[0]) - len(now))
    return Text.assemble((name, "bold"), state, " " * room, (now, "dim"))
