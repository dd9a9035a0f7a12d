"""Pictures of a capture: slices with the marked region on a canvas of one size, and a page of text. Arrays only.

A slice is drawn at its true proportions, so that letters, contour and scale bar look alike for every matrix and every
pixel spacing. Its rows and columns stay as they are: sides are named by letters, not assumed.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.dicom import letters

SIDE: Final = 512  # of the square that a slice fills
HEAD: Final = 32  # rows of the caption above it
FOOT: Final = 48  # rows of the two lines below it
WINDOW_HU: Final = (0.0, 80.0)  # brain: level 40, width 80
_SIZE: Final = 2  # pixels for one dot of a letter
_MARGIN: Final = 8
_LONGEST: Final = (SIDE - 2 * _MARGIN) // (letters.STEP * _SIZE)  # letters in a line
_BARS_MM: Final = (100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
_LONGEST_BAR: Final = 0.3  # of the width
_CONTOUR: Final = 2  # pixels
YELLOW: Final = (255, 220, 0)
WHITE: Final = (255, 255, 255)

Picture = NDArray[np.uint8]
"""(HEAD + SIDE + FOOT, SIDE, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One slice to draw.

    hu:       (y, x), HU
    region:   (y, x), what to mark
    gaps_mm:  between rows, and between columns
    sides:    letters of the patient's sides at the left, right, upper and lower edge
    """

    hu: NDArray[np.float32]
    region: NDArray[np.bool_]
    gaps_mm: tuple[float, float]
    sides: tuple[str, str, str, str]

    @property
    def mm_per_pixel(self) -> float:
        """Of the picture, in both directions."""
        (rows, columns), (row_mm, column_mm) = self.hu.shape, self.gaps_mm
        return float(max(rows * row_mm, columns * column_mm)) / SIDE


def drawn(scene: Scene, caption: str, lines: Sequence[str]) -> Picture:
    """The slice with the contour of its region, sides, scale bar, a caption above and at most two lines below."""
    canvas = _canvas(caption)
    top, left, shape = _place(scene)
    low, high = WINDOW_HU
    grey = np.clip((_resampled(scene, shape) - low) / (high - low), 0, 1) * 255
    inside = canvas[HEAD + top : HEAD + top + shape[0], left : left + shape[1]]
    inside[:] = np.rint(grey).astype(np.uint8)[..., None]
    inside[contour(_shown(scene, shape))] = YELLOW
    for (y, x), text in zip(_edges(scene.sides), scene.sides, strict=True):
        _write(canvas, text, y, x, boxed=True)
    _bar(canvas, scene.mm_per_pixel)
    for number, line in enumerate(lines[:2]):
        _write(canvas, line[:_LONGEST], HEAD + SIDE + 6 + number * letters.LINE * _SIZE, _MARGIN)
    return canvas


def page(caption: str, title: str, paragraphs: Sequence[str]) -> Picture:
    """A page of text: the title in large letters, each paragraph in lines of its own.

    raises: ValueError if it does not fit: nothing is left out in silence
    """
    canvas, at = _canvas(caption), HEAD + 2 * _MARGIN
    _write(canvas, title, at, _MARGIN, size=2 * _SIZE)
    at += 2 * letters.LINE * _SIZE + 2 * _MARGIN
    for paragraph in paragraphs:
        for line in textwrap.wrap(paragraph, _LONGEST):
            _write(canvas, line, at, _MARGIN)
            at += letters.LINE * _SIZE
        at += _MARGIN
    if at > len(canvas):
        raise ValueError(f"The text needs {at} rows, the page has {len(canvas)}.")
    return canvas


def contour(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels around a region, so that what lies in it stays to be seen; at the edge of the picture, its own."""
    grown = region
    for _ in range(_CONTOUR):
        grown = _grown(grown)
    edge = np.zeros_like(region)
    edge[[0, -1], :] = edge[:, [0, -1]] = True
    return (grown & ~region) | (region & edge)


def _grown(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = region.copy()
    grown[1:] |= region[:-1]
    grown[:-1] |= region[1:]
    grown[:, 1:] |= region[:, :-1]
    grown[:, :-1] |= region[:, 1:]
    return grown


def _canvas(caption: str) -> Picture:
    canvas = np.zeros((HEAD + SIDE + FOOT, SIDE, 3), np.uint8)
    _write(canvas, caption, (HEAD - letters.HEIGHT * _SIZE) // 2, (SIDE - letters.width(caption, _SIZE)) // 2, YELLOW)
    return canvas


def _place(scene: Scene) -> tuple[int, int, tuple[int, int]]:
    """Row and column of the slice in its square, and its size there."""
    rows, columns = (
        max(1, min(SIDE, round(size * gap / scene.mm_per_pixel)))
        for size, gap in zip(scene.hu.shape, scene.gaps_mm, strict=True)
    )
    return (SIDE - rows) // 2, (SIDE - columns) // 2, (rows, columns)


def _resampled(scene: Scene, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Linear between the centres of pixels; those of a finer slice are averaged first, so that none is passed over."""
    plane = scene.hu
    for axis in (0, 1):
        plane = _along(plane, shape[axis], axis)
    return plane


def _along(plane: NDArray[np.float32], count: int, axis: int) -> NDArray[np.float32]:
    several = plane.shape[axis] // count
    if several > 1:
        whole = plane.shape[axis] // several * several
        kept = np.moveaxis(plane, axis, 0)[:whole]
        plane = np.moveaxis(kept.reshape(whole // several, several, -1).mean(axis=1), 0, axis)
    size = plane.shape[axis]
    at = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
    low = np.minimum(at.astype(np.intp), max(0, size - 2))
    high = np.minimum(low + 1, size - 1)
    part = (at - low).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    lower, upper = np.take(plane, low, axis), np.take(plane, high, axis)
    made: NDArray[np.float32] = lower + (upper - lower) * part
    return made


def _shown(scene: Scene, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The region in the picture; a single pixel of a fine slice is not lost."""
    rows, columns = scene.region.shape
    y = np.minimum((np.arange(shape[0]) + 0.5) * rows / shape[0], rows - 1).astype(np.intp)
    x = np.minimum((np.arange(shape[1]) + 0.5) * columns / shape[1], columns - 1).astype(np.intp)
    shown = scene.region[np.ix_(y, x)]
    there = np.argwhere(scene.region)
    shown[there[:, 0] * shape[0] // rows, there[:, 1] * shape[1] // columns] = True
    return shown


def _edges(sides: tuple[str, str, str, str]) -> tuple[tuple[int, int], ...]:
    height = letters.HEIGHT * _SIZE
    middle_y = HEAD + (SIDE - height) // 2
    right, upper, lower = (letters.width(side, _SIZE) for side in sides[1:])
    return (
        (middle_y, _MARGIN),
        (middle_y, SIDE - _MARGIN - right),
        (HEAD + _MARGIN, (SIDE - upper) // 2),
        (HEAD + SIDE - _MARGIN - height, (SIDE - lower) // 2),
    )


def _bar(canvas: Picture, mm_per_pixel: float) -> None:
    """A scale bar in the lower right corner, of a round length."""
    length_mm = next((one for one in _BARS_MM if one / mm_per_pixel <= SIDE * _LONGEST_BAR), _BARS_MM[-1])
    length = max(1, round(length_mm / mm_per_pixel))
    right, bottom = SIDE - _MARGIN, HEAD + SIDE - _MARGIN
    canvas[bottom - 6 : bottom + 2, right - length - 2 : right + 2] = 0
    canvas[bottom - 4 : bottom, right - length : right] = WHITE
    text = f"{length_mm:g} MM"
    row = bottom - 6 - letters.LINE * _SIZE
    _write(canvas, text, row, right - letters.width(text, _SIZE), boxed=True)


def _write(
    canvas: Picture,
    text: str,
    y: int,
    x: int,
    colour: tuple[int, int, int] = WHITE,
    *,
    size: int = _SIZE,
    boxed: bool = False,
) -> None:
    """Letters on the canvas; boxed: on black, where they would stand on an image."""
    word = letters.drawn(text, size)
    height, width = word.shape
    if boxed:
        canvas[max(0, y - 2) : y + height + 2, max(0, x - 2) : x + width + 2] = 0
    part = canvas[y : y + height, x : x + width]
    part[word[: part.shape[0], : part.shape[1]]] = colour
