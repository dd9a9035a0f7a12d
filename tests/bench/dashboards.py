"""Draws the dashboards from their own JSON and what Prometheus answers, roughly as Grafana lays them out.

    python -m tests.bench.dashboards OUT          each dashboard with a made-up day behind it, as PNG
    python -m tests.bench.dashboards OUT --save   at a glance only, small, as deploy/picture/at-a-glance.png

There is no Grafana in Debian: this is a proof that panels answer questions, not of Grafana's looks.
"""

import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from tests.bench import day
from tests.dashboards import ROOT, boards, filled, panels, rules
from tests.prometheus_server import Prometheus, Row

WIDE, UNIT, GAP = 80, 38, 8  # pixels of a column and a row of Grafana's grid on a screen of 1920
BACK, PANEL, TEXT, DIM, GRID = "#111217", "#181b1f", "#ccccdc", "#8e8e99", "#2c2f36"
PICTURE: Final = ROOT / "deploy" / "picture" / "at-a-glance.png"
Point = tuple[float, float]


class Board:
    """One dashboard as a picture. `ends`: the time that is now, seconds since 1970; `hours`: that are shown"""

    def __init__(self, board: Mapping[str, Any], prometheus: Prometheus, *, ends: float, hours: float = 24) -> None:
        self._asked, self._ends, self._since = prometheus, ends, ends - hours * 3600
        self._records = {rule["record"]: rule["expr"].strip() for rule in rules() if "record" in rule}
        grid = [panel["gridPos"] for panel in board["panels"]]
        size = (24 * WIDE, 60 + UNIT * max(one["y"] + one["h"] for one in grid))
        self.image = Image.new("RGB", size, BACK)
        self._draw = ImageDraw.Draw(self.image)
        self._text((GAP, 18), str(board["title"]), 22)
        for row in (one for one in board["panels"] if one["type"] == "row"):
            self._text((GAP, 64 + UNIT * row["gridPos"]["y"]), row["title"], 18)
        for panel in panels(board):
            self._panel(panel)

    def _panel(self, panel: Mapping[str, Any]) -> None:
        at = panel["gridPos"]
        left, top = at["x"] * WIDE, 60 + at["y"] * UNIT
        box = (left + GAP / 2, top + GAP / 2, left + at["w"] * WIDE - GAP / 2, top + at["h"] * UNIT - GAP / 2)
        self._draw.rectangle(box, fill=PANEL)
        self._text((box[0] + 10, box[1] + 8), panel["title"], 15)
        inside = (box[0] + 10, box[1] + 34, box[2] - 10, box[3] - 8)
        kinds: dict[str, Callable[..., None]] = {
            "stat": self._figures, "timeseries": self._lines, "table": self._table, "bargauge": self._bars,
            "heatmap": self._heat,
        }  # fmt: skip
        kinds[panel["type"]](panel, inside)

    # What Prometheus says.

    def _expression(self, target: Mapping[str, Any]) -> str:
        def spelled(found: re.Match[str]) -> str:
            known = self._records.get(found[1])
            return found[0] if known is None or known.startswith("vector") else f"({spell(known)})"

        def spell(text: str) -> str:
            return re.sub(r"(\w+:[\w:]+)(\{[^}]*\})?", spelled, text)

        return spell(filled(target["expr"], rate="10m"))

    def _now(self, panel: Mapping[str, Any]) -> list[tuple[str, dict[str, str], float]]:
        return [
            (target["refId"], labels, values[-1][1])
            for target in panel["targets"]
            for labels, values in self._asked.instant(self._expression(target), at=self._ends)
        ]

    def _named(self, panel: Mapping[str, Any], letter: str, labels: Mapping[str, str]) -> str:
        (target,) = [one for one in panel["targets"] if one["refId"] == letter]
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target.get("legendFormat", ""))

    # What it looks like.

    def _figures(self, panel: Mapping[str, Any], box: Sequence[float]) -> None:
        found = self._now(panel)
        defaults = panel["fieldConfig"]["defaults"]
        if not found:
            self._text((box[0], (box[1] + box[3]) / 2 - 18), defaults["noValue"], 34)
        high = (box[3] - box[1]) / max(len(found), 1)
        for place, (letter, labels, value) in enumerate(found):
            text, colour = said(defaults, value)
            name = self._named(panel, letter, labels)
            size = int(min(high * 0.62, 64))
            y = box[1] + place * high + (high - size) / 2
            self._text((box[0], y + size * 0.3), name, int(max(min(size * 0.4, 20), 12)), DIM)
            self._text((box[2], y), text, size, colour, right=True)

    def _bars(self, panel: Mapping[str, Any], box: Sequence[float]) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        found = sorted(self._now(panel), key=lambda row: -row[2])[:12]
        if not found:
            self._text((box[0], box[1]), defaults["noValue"], 18, DIM)
        most = max([value for _, _, value in found if value > 0] or [1])
        high = min((box[3] - box[1]) / max(len(found), 1), 34)
        for place, (letter, labels, value) in enumerate(found):
            text, colour = said(defaults, value)
            y, wide = box[1] + place * high, (box[2] - box[0]) * 0.42
            self._text((box[0], y + 4), self._named(panel, letter, labels), 14, DIM)
            self._draw.rectangle(
                (box[0] + wide, y + 3, box[0] + wide + 1 + wide * max(value, 0) / most, y + high - 5), fill=colour
            )
            self._text((box[2], y + 3), text, 15, colour, right=True)

    def _table(self, panel: Mapping[str, Any], box: Sequence[float]) -> None:
        order = panel["transformations"][1]["options"]
        names, places = order["renameByName"], order["indexByName"]
        columns = sorted(names, key=lambda key: int(places[key]))
        single = len(panel["targets"]) == 1
        merged: dict[tuple[str, ...], dict[str, float]] = {}
        labels_of = [key for key in columns if not key.startswith("Value")]
        for letter, labels, value in self._now(panel):
            row = merged.setdefault(tuple(labels.get(key, "") for key in labels_of), {})
            row["Value" if single else f"Value #{letter}"] = value
        own = {
            one["matcher"]["options"]: {p["id"]: p["value"] for p in one["properties"]}
            for one in panel["fieldConfig"]["overrides"]
        }
        given = {key: own.get(names[key], {}).get("custom.width") for key in columns}
        left = box[2] - box[0] - sum(wide for wide in given.values() if wide)
        wide_of = {key: wide or left / list(given.values()).count(None) for key, wide in given.items()}
        x_of = {key: box[0] + sum(list(wide_of.values())[:number]) for number, key in enumerate(columns)}
        for key in columns:
            self._text((x_of[key], box[1]), names[key], 14, DIM)
        if not merged:
            self._text((box[0], box[1] + 30), panel["fieldConfig"]["defaults"]["noValue"], 18, DIM)
        by = [sort["displayName"] for sort in panel["options"].get("sortBy", [])]
        keys = [key for key in columns if names[key] in by]
        lines = sorted(merged.items(), key=lambda line: -sum(line[1].get(key, 0) for key in keys))
        for place, (labels_found, values) in enumerate(lines):
            y = box[1] + 26 + place * 26
            for key, x in x_of.items():
                if key in labels_of:
                    self._text((x, y), labels_found[labels_of.index(key)], 15, wide=wide_of[key] - 6)
                elif key in values:
                    text, colour = said(own.get(names[key], {}), values[key], now=self._ends)
                    self._text((x, y), text, 15, colour)

    def _lines(self, panel: Mapping[str, Any], box: Sequence[float]) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        fixed = {
            one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"]
            for one in panel["fieldConfig"]["overrides"]
        }
        bars = defaults["custom"].get("drawStyle") == "bars"
        step_s = 3600.0 if panel.get("interval") == "1h" else 300.0
        first = math.ceil(self._since / step_s) * step_s
        found: list[tuple[str, list[Point]]] = []
        for target in panel["targets"]:
            rows: list[Row] = self._asked.over(self._expression(target), since=first, until=self._ends, step_s=step_s)
            for labels, values in rows:
                good = [(at, value) for at, value in values if not math.isnan(value)]
                found.append((self._named(panel, target["refId"], labels), good))
        found.sort(key=lambda one: one[0])
        legend = box[2] - (box[2] - box[0]) * 0.3
        plot = (box[0] + 56, box[1] + 4, legend - 14, box[3] - 20)
        top = self._top(found, stacked=bars)
        for part in range(5):
            y = plot[3] - (plot[3] - plot[1]) * part / 4
            self._draw.line((plot[0], y, plot[2], y), fill=GRID)
            self._text((plot[0] - 6, y - 8), said(defaults, top * part / 4)[0], 12, DIM, right=True)
        below: dict[float, float] = {}
        for number, (name, points) in enumerate(found):
            colour = fixed.get(name) or shade("#56B4E9", number, len(found))
            pixels = [
                (
                    plot[0] + (plot[2] - plot[0]) * (at - self._since) / (self._ends - self._since),
                    plot[3] - (plot[3] - plot[1]) * (below.get(at, 0) + value) / top,
                )
                for at, value in points
            ]
            if bars:
                half = (plot[2] - plot[0]) * step_s / (self._ends - self._since) * 0.42
                for (at, value), (x, y) in zip(points, pixels, strict=True):
                    low = plot[3] - (plot[3] - plot[1]) * below.get(at, 0) / top
                    self._draw.rectangle((x - half, y, x + half, max(low, y)), fill=colour)
                    below[at] = below.get(at, 0) + value
            elif len(pixels) > 1:
                self._draw.line(pixels, fill=colour, width=2)
            y = box[1] + 4 + number * 22
            if y < box[3] - 16:
                self._draw.rectangle((legend, y + 7, legend + 14, y + 10), fill=colour)
                self._text((legend + 20, y), name, 13, wide=box[2] - legend - 90)
                self._text((box[2], y), said(defaults, points[-1][1])[0] if points else "-", 13, right=True)
        for hour in range(0, 25, 6):
            x = plot[0] + (plot[2] - plot[0]) * hour / 24
            when = time.gmtime(self._since + (self._ends - self._since) * hour / 24)
            self._text((x - 16, plot[3] + 4), time.strftime("%H:%M", when), 12, DIM)

    def _top(self, found: Sequence[tuple[str, Sequence[Point]]], *, stacked: bool) -> float:
        sums: dict[float, float] = {}
        for _, points in found:
            for at, value in points:
                sums[at] = sums.get(at, 0) + value if stacked else max(sums.get(at, 0), value)
        most = max([*sums.values()]) if any(sums.values()) else 1.0
        tens = 10.0 ** math.floor(math.log10(most))
        return next(step * tens for step in (1, 2, 4, 8, 10) if step * tens >= most)

    def _heat(self, panel: Mapping[str, Any], box: Sequence[float]) -> None:
        (target,) = panel["targets"]
        rows = self._asked.over(self._expression(target), since=self._since, until=self._ends, step_s=1200)
        rows.sort(key=lambda row: float(row[0]["le"]))
        below: dict[float, float] = {}
        cells: list[tuple[int, float, float]] = []
        for place, (_, values) in enumerate(rows):
            for at, value in values:
                cells.append((place, at, value - below.get(at, 0)))
                below[at] = value
        most = max([count for _, _, count in cells] or [1]) or 1
        high, wide = (box[3] - box[1]) / max(len(rows), 1), (box[2] - box[0] - 60) * 1200 / (self._ends - self._since)
        for place, (labels, _) in enumerate(rows):
            self._text((box[0] + 50, box[3] - (place + 1) * high), labels["le"], 11, DIM, right=True)
        for place, at, count in cells:
            if count > 1e-9:
                x = box[0] + 60 + (at - self._since) / 1200 * wide
                y = box[3] - (place + 1) * high
                part = math.sqrt(count / most)
                colour = tuple(int(a + (b - a) * part) for a, b in zip((0, 34, 78), (254, 232, 56), strict=True))
                self._draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)

    def _text(
        self, at: Point, text: str, size: int, colour: str = TEXT, *, right: bool = False, wide: float = math.inf
    ) -> None:
        font = ImageFont.load_default(size)
        while len(text) > 3 and font.getlength(text) > wide:
            text = text[:-2] + "…"
        x = at[0] - (font.getlength(text) if right else 0)
        self._draw.text((x, at[1]), text, fill=TEXT if colour == "text" else colour, font=font)


def said(field: Mapping[str, Any], value: float, *, now: float = 0.0) -> tuple[str, str]:
    """A value as a person reads it, and its colour by the thresholds of the field."""
    colour = TEXT
    for step in field.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    for mapping in field.get("mappings", []):
        if (word := mapping["options"].get(f"{value:g}")) is not None:
            return word["text"], word["color"]
    if math.isnan(value):
        return "-", DIM
    unit, decimals = field.get("unit", "short"), field.get("decimals")
    if decimals == 0 and unit == "short":
        return f"{value:,.0f}", colour
    if unit == "dateTimeFromNow":
        return f"{said({'unit': 's'}, now - value / 1000)[0]} ago", colour
    scales: dict[str, tuple[tuple[float, str], ...]] = {
        "s": ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms")),
        "bytes": ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")),
        "Bps": ((1e6, " MB/s"), (1e3, " kB/s"), (1, " B/s")),
        "percentunit": ((0.01, " %"),),
    }
    for scale, name in scales.get(unit, ()):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{name}", colour
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}", colour


def shade(colour: str, number: int, of: int) -> str:
    """One of several shades of a colour, the first as it is."""
    part = 1 - 0.5 * number / max(of - 1, 1)
    return "#" + "".join(f"{int(int(colour[at : at + 2], 16) * part):02x}" for at in (1, 3, 5))


def main(out: Path, *, save: bool) -> None:
    """Draw each dashboard into `out`; with `save` the glance into the picture of the README instead."""
    out.mkdir(parents=True, exist_ok=True)
    ends = time.time() - 60
    with tempfile.TemporaryDirectory() as folder:
        day.write(Path(folder) / "prometheus", ends=ends)
        with Prometheus(Path(folder) / "prometheus", ports=()) as prometheus:
            for name, board in boards().items():
                if name == "at-a-glance.json" or not save:
                    image = Board(board, prometheus, ends=ends).image
                    image.save(out / name.replace(".json", ".png"))
                    if save:
                        small = image.resize((image.width * 5 // 8, image.height * 5 // 8), Image.Resampling.LANCZOS)
                        small.quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), save="--save" in sys.argv[2:])
