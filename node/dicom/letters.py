"""Letters of five by seven dots: what the node draws into planes and captures has to look alike on every machine."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 5
HEIGHT: Final = 7
STEP: Final = WIDTH + 1
LINE: Final = HEIGHT + 2

# Seven rows of five dots, each row in octal: the leftmost dot is 20, the rightmost 01.
_ROWS: Final = {
    " ": "00 00 00 00 00 00 00",
    "!": "04 04 04 04 04 00 04",
    '"': "12 12 00 00 00 00 00",
    "#": "12 12 37 12 37 12 12",
    "%": "30 31 02 04 10 23 03",
    "&": "14 22 24 10 25 22 15",
    "'": "04 04 00 00 00 00 00",
    "(": "02 04 10 10 10 04 02",
    ")": "10 04 02 02 02 04 10",
    "*": "00 04 25 16 25 04 00",
    "+": "00 04 04 37 04 04 00",
    ",": "00 00 00 00 14 04 10",
    "-": "00 00 00 37 00 00 00",
    ".": "00 00 00 00 00 14 14",
    "/": "00 01 02 04 10 20 00",
    "0": "16 21 23 25 31 21 16",
    "1": "04 14 04 04 04 04 16",
    "2": "16 21 01 02 04 10 37",
    "3": "37 02 04 02 01 21 16",
    "4": "02 06 12 22 37 02 02",
    "5": "37 20 36 01 01 21 16",
    "6": "06 10 20 36 21 21 16",
    "7": "37 01 02 04 10 10 10",
    "8": "16 21 21 16 21 21 16",
    "9": "16 21 21 17 01 02 14",
    ":": "00 14 14 00 14 14 00",
    ";": "00 14 14 00 14 04 10",
    "<": "02 04 10 20 10 04 02",
    "=": "00 00 37 00 37 00 00",
    ">": "10 04 02 01 02 04 10",
    "?": "16 21 01 02 04 00 04",
    "A": "16 21 21 37 21 21 21",
    "B": "36 21 21 36 21 21 36",
    "C": "16 21 20 20 20 21 16",
    "D": "34 22 21 21 21 22 34",
    "E": "37 20 20 36 20 20 37",
    "F": "37 20 20 36 20 20 20",
    "G": "16 21 20 27 21 21 17",
    "H": "21 21 21 37 21 21 21",
    "I": "16 04 04 04 04 04 16",
    "J": "07 02 02 02 02 22 14",
    "K": "21 22 24 30 24 22 21",
    "L": "20 20 20 20 20 20 37",
    "M": "21 33 25 25 21 21 21",
    "N": "21 31 25 25 23 21 21",
    "O": "16 21 21 21 21 21 16",
    "P": "36 21 21 36 20 20 20",
    "Q": "16 21 21 21 25 22 15",
    "R": "36 21 21 36 24 22 21",
    "S": "17 20 20 16 01 01 36",
    "T": "37 04 04 04 04 04 04",
    "U": "21 21 21 21 21 21 16",
    "V": "21 21 21 21 21 12 04",
    "W": "21 21 21 25 25 25 12",
    "X": "21 21 12 04 12 21 21",
    "Y": "21 21 12 04 04 04 04",
    "Z": "37 01 02 04 10 20 37",
    "[": "16 10 10 10 10 10 16",
    "]": "16 02 02 02 02 02 16",
    "_": "00 00 00 00 00 00 37",
}


def drawn(text: str, size: int = 1) -> NDArray[np.bool_]:
    """One line of text, (7 size, (6 n - 1) size); small letters become capitals, what is no letter here becomes "?"."""
    if not text:
        return np.zeros((HEIGHT * size, 0), np.bool_)
    gap = np.zeros((HEIGHT, 1), np.bool_)
    parts = [part for letter in text.upper() for part in (_letter(letter), gap)]
    return np.kron(np.hstack(parts[:-1]), np.ones((size, size), np.bool_)).astype(np.bool_)


def width(text: str, size: int = 1) -> int:
    """Of a line, in pixels."""
    return max(0, len(text) * STEP - 1) * size


@cache
def _letter(letter: str) -> NDArray[np.bool_]:
    rows = (int(row, 8) for row in _ROWS.get(letter, _ROWS["?"]).split())
    return np.array([[row >> bit & 1 for bit in range(WIDTH - 1, -1, -1)] for row in rows], np.bool_)
