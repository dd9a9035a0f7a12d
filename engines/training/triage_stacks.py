"""Simulated head CTs on the grid of the triage, as the network and its tables learn from them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.shelf import ready
from engines.training.sources import Role


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """One examination on the grid of engines/head.py.

    group: the head it was painted from
    hu:    (32, 224, 192) float16 HU, 0 outside of the brain
    mask:  (32, 224, 192) bool, the brain
    """

    group: str
    hu: NDArray[np.float16]
    mask: NDArray[np.bool_]


def load_stacks(folder: Path, role: Role, known: int = 0) -> list[Stack]:
    """Every normal stack of a role that is ready, in the order in which they were made, from number `known` on."""
    made = []
    for path in ready(folder, role)[known:]:
        with np.load(path) as arrays:
            made.append(Stack(group=str(arrays["group"]), hu=arrays["hu"], mask=arrays["mask"]))
    return made
