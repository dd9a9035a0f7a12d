"""The mean head that every other is laid on: made by `python -m engines.training.head_template` from heads 01 to 03.

Symmetric about the midline. 4 mm: an alignment needs no more, and it is small enough to ship.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.head_frame import Array, Matrix

TABLES: Final = Path(__file__).parent / "tables"
FILE: Final = "head_template.npz"
SHAPE: Final = (40, 56, 48)
SPACING_MM: Final = 4.0
CSF_HU, GREY_HU = 6.0, 38.0
"""Between them density runs from 0 to 1."""


class TemplateDamaged(Exception):
    """The file is not the one that was sealed; install the node again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """Means over heads on a grid of 4 mm about the middle of `engines.head.GRID`.

    inside:  (40, 56, 48) float32, share of heads whose skull encloses the place
    density: the same shape, mean of clip((HU - 6) / 32, 0, 1.2) within the skull, 0 outside: 0 where CSF is, 1 in grey
             matter
    """

    inside: Array
    density: Array


def to_mm(shape: tuple[int, int, int] = SHAPE, spacing_mm: float = SPACING_MM) -> Matrix:
    """(4, 4): index of the template -> mm (z, y, x) about its middle."""
    made = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    made[:3, 3] = [-(n - 1) / 2.0 * spacing_mm for n in shape]
    return made


@lru_cache(maxsize=2)
def load(folder: Path = TABLES) -> Template:
    """The template that ships. raises: TemplateDamaged"""
    data = (folder / FILE).read_bytes()
    sealed = (folder / "SHA256SUMS").read_text().split()
    if sealed != [hashlib.sha256(data).hexdigest(), FILE]:
        raise TemplateDamaged(f"{FILE} is not the file that SHA256SUMS names. Install the node again.")
    with np.load(io.BytesIO(data)) as arrays:
        return unpacked(arrays["inside"], arrays["density"])


def unpacked(inside: NDArray[np.uint8], density: NDArray[np.uint8]) -> Template:
    """From bytes as they are stored: 255 is 1."""
    return Template(inside=inside.astype(np.float32) / 255.0, density=density.astype(np.float32) / 200.0)
