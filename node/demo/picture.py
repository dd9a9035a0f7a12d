"""The picture of a result: original, derived and difference side by side, with what the eye needs to judge them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Scalar = TypeVar("Scalar", bound=np.generic)

PANEL = 540  # width of one column, px
GAP = 22
MARGIN = 34
BACK = (13, 17, 23)
TEXT = (230, 237, 243)
QUIET = (148, 158, 170)
MARK = (86, 204, 242)  # frames; blue and orange stay apart for every kind of colour vision
WARNING = (255, 176, 77)
WARNING_TEXT = "NOT FOR DIAGNOSIS - research, demonstration weights"
FLAT_BOX = 21  # side of the region that mean and SD are taken from, px
SOFT_HU = (0.0, 200.0)

# Blue for less, orange for more, dark where nothing changed: the difference is seen, not the colour map.
DIFFERENCE_STOPS = ((150, 205, 255), (48, 120, 205), (16, 20, 27), (214, 110, 24), (255, 214, 150))


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a slice: first row and column, rows and columns."""

    y: int
    x: int
    rows: int
    columns: int

    def of(self, image: NDArray[Scalar]) -> NDArray[Scalar]:
        """The part of the image, (rows, columns)."""
        return image[self.y : self.y + self.rows, self.x : self.x + self.columns]


def compare_picture(
    original: NDArray[np.floating],
    derived: NDArray[np.floating],
    out: Path,
    *,
    window: tuple[float, float],
    title: str,
    subtitle: str = "",
    captions: tuple[str, str, str] = ("Original", "Derived", "Difference (derived - original)"),
    difference_hu: float = 100.0,
    zoom_at: tuple[int, int] | None = None,
    zoom: float = 3.5,
) -> Path:
    """Write the PNG and return its path; written aside and renamed.

    original, derived: (y, x), HU, the same slice before and after
    window:            (centre, width), HU, of both images
    difference_hu:     the difference that has the full colour, on both sides
    zoom_at:           (y, x) of the middle of the magnified part; where most soft tissue is if not given
    raises:            ValueError if the two slices differ in shape
    """
    if original.shape != derived.shape:
        raise ValueError(f"Original {original.shape} and derived {derived.shape} are not the same slice.")
    before, after = original.astype(np.float64), derived.astype(np.float64)
    change = after - before
    body = _body_box(before)
    scale = PANEL / body.columns
    detail = _zoom_box(before, body, zoom_at, columns=max(16, round(body.columns / zoom)))
    flat = _flat_box(before)

    panels = (_grey(before, window), _grey(after, window), _diverging(change, difference_hu))
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    shown = f"window {low:.0f} to {high:.0f} HU (C {window[0]:.0f}, W {window[1]:.0f})"
    legends = (shown, shown, f"{-difference_hu:.0f} to +{difference_hu:.0f} HU")
    figures = [f"mean {_mean(flat, v):.1f} HU   SD {_sd(flat, v):.1f} HU" for v in (before, after)]
    figures.append(f"mean shift {_mean(flat, change):+.1f} HU   removed SD {_sd(flat, change):.1f} HU")

    upper, lower = round(body.rows * scale), round(PANEL * detail.rows / detail.columns)
    top = MARGIN + (104 if subtitle else 76)
    canvas = Image.new("RGB", (2 * MARGIN + 3 * PANEL + 2 * GAP, top + 34 + upper + GAP + lower + 120), BACK)
    draw = ImageDraw.Draw(canvas)
    _heading(draw, canvas.width, title, subtitle)
    for column, (panel, caption, legend, figure) in enumerate(zip(panels, captions, legends, figures, strict=True)):
        left = MARGIN + column * (PANEL + GAP)
        draw.text((left, top), caption, TEXT, font=_font(21))
        whole = _part(panel, body, (PANEL, upper))
        pencil = ImageDraw.Draw(whole)
        _frame(pencil, detail, body, scale, width=2)
        _frame(pencil, flat, body, scale, width=1)
        canvas.paste(whole, (left, top + 34))
        part = _part(panel, detail, (PANEL, lower))
        ImageDraw.Draw(part).rectangle((0, 0, PANEL - 1, lower - 1), outline=MARK, width=2)
        canvas.paste(part, (left, top + 34 + upper + GAP))
        foot = top + 34 + upper + GAP + lower + 14
        _ramp(canvas, (left, foot), difference=column == 2)
        draw.text((left + 132, foot - 5), legend, QUIET, font=_font(16))
        draw.text((left, foot + 24), f"small frame: {figure}", TEXT, font=_font(17))
    facts = f"Lower row: the large frame, magnified {PANEL / detail.columns:.1f} times. Small frame: an even region of "
    draw.text(
        (MARGIN, canvas.height - MARGIN - 12),
        f"{facts}{flat.rows} x {flat.columns} pixels, chosen on the original.",
        QUIET,
        font=_font(15),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    canvas.save(aside, format="PNG", optimize=True)
    aside.replace(out)
    return out


def _heading(draw: ImageDraw.ImageDraw, width: int, title: str, subtitle: str) -> None:
    """Title on the left, the safety status on the right."""
    draw.text((MARGIN, MARGIN - 6), title, TEXT, font=_font(32))
    if subtitle:
        draw.text((MARGIN, MARGIN + 40), subtitle, QUIET, font=_font(18))
    font = _font(18)
    length = draw.textlength(WARNING_TEXT, font=font)
    box = (width - MARGIN - length - 32, MARGIN - 6, width - MARGIN, MARGIN + 32)
    draw.rounded_rectangle(box, radius=19, outline=WARNING, width=2)
    draw.text((box[0] + 16, (box[1] + box[3]) / 2), WARNING_TEXT, WARNING, font=font, anchor="lm")


def _part(panel: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(box.of(panel))).resize(size, Image.Resampling.BICUBIC)


def _frame(draw: ImageDraw.ImageDraw, box: Box, body: Box, scale: float, *, width: int) -> None:
    """Draw where a box lies in the panel of the body."""
    x, y = (box.x - body.x) * scale, (box.y - body.y) * scale
    draw.rectangle((x, y, x + box.columns * scale, y + box.rows * scale), outline=MARK, width=width)


def _ramp(canvas: Image.Image, at: tuple[int, int], *, difference: bool) -> None:
    """The colours from the lowest to the highest value."""
    line = np.linspace(-1, 1, 120)[None, :].repeat(12, axis=0)
    canvas.paste(Image.fromarray(_diverging(line, 1) if difference else _grey(line, (0, 2))), at)


def _grey(image: NDArray[np.floating], window: tuple[float, float]) -> NDArray[np.uint8]:
    """(y, x) HU to (y, x, 3) grey."""
    grey: NDArray[np.uint8] = np.rint(np.clip((image - window[0]) / window[1] + 0.5, 0, 1) * 255).astype(np.uint8)
    return np.stack((grey, grey, grey), axis=-1)


def _diverging(change: NDArray[np.floating], limit_hu: float) -> NDArray[np.uint8]:
    """(y, x) difference to (y, x, 3) colour; dark at zero."""
    at = np.clip(change / limit_hu, -1, 1)
    stops = np.linspace(-1, 1, len(DIFFERENCE_STOPS))
    channels = [np.interp(at, stops, [stop[channel] for stop in DIFFERENCE_STOPS]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def _body_box(image: NDArray[np.floating]) -> Box:
    """What is not air, with a margin; the whole slice if it is all air."""
    # Of five pixels in a row most must be tissue: noise in the air around is not body.
    tissue = _box_mean((image > -400).astype(np.float64), 5) > 0.6
    rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
    if not rows.size:
        return Box(y=0, x=0, rows=image.shape[0], columns=image.shape[1])
    edge = 10
    y, x = max(0, int(rows[0]) - edge), max(0, int(columns[0]) - edge)
    return Box(
        y=y,
        x=x,
        rows=min(image.shape[0], int(rows[-1]) + edge + 5) - y,
        columns=min(image.shape[1], int(columns[-1]) + edge + 5) - x,
    )


def _zoom_box(image: NDArray[np.floating], body: Box, at: tuple[int, int] | None, *, columns: int) -> Box:
    """The part to magnify: three wide to two high, inside the image."""
    columns = min(columns, image.shape[1])
    rows = min(round(columns * 2 / 3), image.shape[0])
    if at is None:
        side = min(rows, columns)
        soft = _box_mean(((image > SOFT_HU[0] - 50) & (image < SOFT_HU[1])).astype(np.float64), side)
        y, x = np.unravel_index(int(np.argmax(soft)), soft.shape)
        at = (int(y) + side // 2, int(x) + side // 2)
    y0 = int(np.clip(at[0] - rows // 2, 0, image.shape[0] - rows))
    x0 = int(np.clip(at[1] - columns // 2, 0, image.shape[1] - columns))
    return Box(y=y0, x=x0, rows=rows, columns=columns)


def _flat_box(original: NDArray[np.floating]) -> Box:
    """The most even region of soft tissue. Found on the original alone: choosing by the result would flatter it."""
    side = min(FLAT_BOX, *original.shape)
    mean = _box_mean(original, side)
    variance = _box_mean(original**2, side) - mean**2
    # Structure spreads the means of 7 x 7 pixels, noise hardly does. Measured against the noise of the same place, or
    # the choice would fall on wherever the scan happens to be least noisy.
    coarse = _box_mean(np.pad(original, 3, mode="edge"), 7)
    spread = (_box_mean(coarse**2, side) - _box_mean(coarse, side) ** 2) / np.maximum(variance, 1.0)
    spread[(mean < SOFT_HU[0]) | (mean > SOFT_HU[1])] = np.inf
    y, x = np.unravel_index(int(np.argmin(spread)), spread.shape)
    return Box(y=int(y), x=int(x), rows=side, columns=side)


def _box_mean(image: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Means over side x side pixels: (y, x) becomes (y - side + 1, x - side + 1), by its upper left pixel."""
    total = np.pad(image, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    part = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return np.asarray(part / side**2, dtype=np.float64)


def _mean(box: Box, image: NDArray[np.floating]) -> float:
    return float(np.mean(box.of(image)))


def _sd(box: Box, image: NDArray[np.floating]) -> float:
    return float(np.std(box.of(image)))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font that comes with Pillow: no file of the system is needed."""
    return ImageFont.load_default(size=size)
