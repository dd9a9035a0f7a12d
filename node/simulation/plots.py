"""Waits by utilisation as a picture, drawn with what the node has anyway."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from node.simulation.measures import Estimate
from node.simulation.queue import Discipline
from node.simulation.sweep import Cell
from node.simulation.tables import TITLES

_SCALE: Final = 2  # drawn larger, then made smaller: smooth lines
_PANEL: Final = (300, 210)
_PLACE: Final = (62, 44)  # of the axes inside of a panel's cell: left, top
_CELL: Final = (386, 306)
_HEAD: Final = 96
_INK, _QUIET, _GRID = (28, 32, 38), (105, 112, 122), (226, 229, 233)
# Okabe and Ito's colours: apart for every kind of colour vision.
_COLOURS: Final = {
    Discipline.ARRIVAL: (0, 0, 0),
    Discipline.FLAG: (230, 159, 0),
    Discipline.SCORE: (204, 121, 167),
    Discipline.CAP: (0, 158, 115),
    Discipline.CREDIT: (0, 114, 178),
}

Pick = Callable[[Cell], Estimate]
_COLUMNS: Final[tuple[tuple[str, bool, Pick], ...]] = (
    ("median wait of emergencies, min", False, lambda cell: cell.measures["emergencies_median"]),
    ("mean wait of others, change", True, lambda cell: cell.changes["others_mean"]),
    ("mean wait of missed emergencies, change", True, lambda cell: cell.changes["missed_mean"]),
    ("p99 wait of others, min", False, lambda cell: cell.measures["others_p99"]),
)


def by_utilisation(cells: Sequence[Cell], out: Path, *, title: str, subtitle: str) -> Path:
    """Write a PNG with a row for each number of readers and a column for each measure; bars are 95 % intervals.

    cells: of one part of a sweep
    """
    readers = sorted({cell.site.readers for cell in cells})
    width, height = _CELL[0] * len(_COLUMNS) + 24, _HEAD + _CELL[1] * len(readers)
    canvas = Image.new("RGB", (width * _SCALE, height * _SCALE), (255, 255, 255))
    pencil = _Pencil(canvas)
    pencil.text((24, 14), title, 22, _INK)
    pencil.text((24, 44), subtitle, 14, _QUIET)
    left = 24.0
    for rule in Discipline:
        pencil.line([(left, 80), (left + 26, 80)], _COLOURS[rule], 3 if rule is Discipline.CREDIT else 2)
        left = pencil.text((left + 32, 71), TITLES[rule], 14, _INK) + 24
    for row, count in enumerate(readers):
        for column, (name, share, pick) in enumerate(_COLUMNS):
            corner = (column * _CELL[0], _HEAD + row * _CELL[1])
            some = [cell for cell in cells if cell.site.readers == count]
            _panel(pencil, corner, some, f"{name}, {count} reader{'s' * (count > 1)}", share=share, pick=pick)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    small = canvas.resize((width, height), Image.Resampling.LANCZOS).quantize(256)
    small.save(aside, format="PNG", optimize=True)
    aside.replace(out)
    return out


class _Pencil:
    """Draws in units of the finished picture."""

    def __init__(self, canvas: Image.Image) -> None:
        self._draw = ImageDraw.Draw(canvas)

    def line(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, colour, round(width * _SCALE), joint="curve")

    def text(
        self, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int], anchor: str = "la"
    ) -> float:
        """Returns where it ends."""
        font = ImageFont.load_default(size=size * _SCALE)
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), text, colour, font=font, anchor=anchor)
        return at[0] + self._draw.textlength(text, font=font) / _SCALE


def _panel(
    pencil: _Pencil, corner: tuple[int, int], cells: Sequence[Cell], title: str, *, share: bool, pick: Pick
) -> None:
    left, top = corner[0] + _PLACE[0], corner[1] + _PLACE[1]
    wide, high = _PANEL
    known = [(cell, pick(cell)) for cell in cells if not math.isnan(pick(cell).value)]
    loads = [cell.site.utilisation for cell in cells]
    if not known:
        pencil.text((left, top), f"{title}: nothing to show", 13, _QUIET)
        return
    values = [one.value for _, one in known]
    low, high_value = (min(0.0, *values), max(0.0, *values))
    step = _step(high_value - low)
    bottom, ceiling = math.floor(low / step) * step, max(math.ceil(high_value / step) * step, step)
    first, last = min(loads), max(loads) if max(loads) > min(loads) else min(loads) + 0.1

    def place(load: float, value: float) -> tuple[float, float]:
        inside = min(max(value, bottom), ceiling)
        return left + (load - first) / (last - first) * wide, top + (ceiling - inside) / (ceiling - bottom) * high

    pencil.text((left - 38, corner[1] + 16), title, 14, _INK)
    for number in range(round((ceiling - bottom) / step) + 1):
        value = bottom + number * step
        y = place(first, value)[1]
        pencil.line([(left, y), (left + wide, y)], _QUIET if abs(value) < step / 2 else _GRID, 1)
        pencil.text(
            (left - 7, y), f"{value:+.0%}" if share and abs(value) > step / 2 else f"{value:g}", 12, _QUIET, "rm"
        )
    for load in sorted(set(loads)):
        x = place(load, bottom)[0]
        pencil.line([(x, top + high), (x, top + high + 4)], _QUIET, 1)
        pencil.text((x, top + high + 7), f"{load:g}", 12, _QUIET, "ma")
    pencil.text((left + wide / 2, top + high + 24), "utilisation", 12, _QUIET, "ma")
    for rule in Discipline:
        found = sorted(((c.site.utilisation, e) for c, e in known if c.discipline is rule), key=lambda pair: pair[0])
        colour = _COLOURS[rule]
        pencil.line([place(load, one.value) for load, one in found], colour, 3 if rule is Discipline.CREDIT else 1.6)
        for load, one in found:
            if not math.isnan(one.low):
                pencil.line([place(load, one.low), place(load, one.high)], colour, 1)


def _step(span: float) -> float:
    """A round distance of grid lines, four to eight of them."""
    if span <= 0.0:
        return 1.0
    raw = span / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    return unit * next(factor for factor in (1, 2, 5, 10) if raw <= factor * unit)
