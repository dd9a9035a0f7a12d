"""SVG in the small: boxes, lines and text in black, white and grey, readable when printed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from node.papers.facts import printable

LINE_PX: Final = 15  # from one line of text to the next
_WIDEST: Final = 0.58  # width of a character over the font size; a little more than that of Helvetica's text
_STYLE: Final = """\
text { font-family: Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; font-size: 12px; fill: #000; }
.name { font-weight: bold; font-size: 13px; }
.small { font-size: 11px; }
.zone { font-weight: bold; font-size: 14px; }
.head { font-weight: bold; font-size: 20px; }
.box { fill: #fff; stroke: #000; stroke-width: 1; }
.node { fill: #fff; stroke: #000; stroke-width: 2.5; }
.port { fill: #000; }
.on-port { fill: #fff; font-weight: bold; }
.letter { font-weight: bold; }
.machine { fill: #ececec; stroke: #000; stroke-width: 1.5; }
.network { fill: none; stroke: #666; stroke-width: 1; stroke-dasharray: 2 4; }
.tls { fill: none; stroke: #000; stroke-width: 3; }
.bare { fill: none; stroke: #000; stroke-width: 1.5; stroke-dasharray: 7 4; }
.inside { fill: none; stroke: #000; stroke-width: 1; }"""


@dataclass(frozen=True, kw_only=True)
class Text:
    """One line. x, y: of its base line's beginning, px."""

    x: int
    y: int
    words: str
    style: str = ""
    anchor: str = "start"

    def __str__(self) -> str:
        style = f' class="{self.style}"' if self.style else ""
        anchor = f' text-anchor="{self.anchor}"' if self.anchor != "start" else ""
        return f'<text x="{self.x}" y="{self.y}"{style}{anchor}>{safe(self.words)}</text>'


def box(x: int, y: int, width: int, height: int, style: str = "box", *, corner: int = 4) -> str:
    """A rectangle; px."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{corner}" class="{style}"/>'


def line(points: Sequence[tuple[int, int]], style: str, *, start: bool = False, end: bool = False) -> str:
    """A line along points, with an arrow at either end."""
    arrows = (' marker-start="url(#arrow)"' if start else "") + (' marker-end="url(#arrow)"' if end else "")
    return f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" class="{style}"{arrows}/>'


def group(inside: Sequence[object], title: str) -> str:
    """Things that belong together, with the words that a screen reader says and a mouse shows."""
    body = "\n".join(f"  {one}" for one in inside)
    return f'<g role="img" aria-label={quoteattr(printable(title))}>\n  <title>{safe(title)}</title>\n{body}\n</g>'


def document(width: int, height: int, inside: Sequence[object], *, title: str, text: str) -> str:
    """The whole file. title, text: what the picture is and what it shows, for those who do not see it."""
    body = "\n".join(map(str, inside))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" \
aria-labelledby="title desc">
<title id="title">{safe(title)}</title>
<desc id="desc">{safe(text)}</desc>
<style>
{_STYLE}
</style>
<defs>
<marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="12" markerHeight="12" \
markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z"/></marker>
</defs>
<rect width="{width}" height="{height}" fill="#fff"/>
{body}
</svg>
"""


def safe(words: str) -> str:
    """Text that XML takes, whatever stands in it."""
    return escape(printable(words))


def wrapped(words: str, width_px: int, *, most: int, font_px: int = 12) -> list[str]:
    """Lines of at most that width, broken at blanks where they are; more than `most` end with an ellipsis."""
    room = max(4, int(width_px / (font_px * _WIDEST)))
    lines: list[str] = []
    for word in printable(words).split():
        if lines and len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
            continue
        lines.extend(_pieces(word, room))
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][: room - 1]}…"]
    return lines


def _pieces(word: str, room: int) -> Iterator[str]:
    """A long word in pieces, cut behind a full stop, hyphen or slash where one is near the end."""
    while len(word) > room:
        near = max(word.rfind(sign, room // 2, room) for sign in ".-/") + 1
        cut = near or room
        yield word[:cut]
        word = word[cut:]
    yield word
