"""The folder between computing once and training for long: one .npz per slice, and how slices are drawn from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.training.sources import Role

_ASIDE = ".tmp.npz"


class Grouped(Protocol):
    """A slice that tells which scan it comes from."""

    @property
    def group(self) -> str: ...


T = TypeVar("T", bound=Grouped)


def put(path: Path, **arrays: Any) -> None:
    """Written aside and renamed: training may read the folder while it grows."""
    aside = path.with_suffix(_ASIDE)
    np.savez(aside, **arrays)
    aside.rename(path)


def ready(folder: Path, role: Role) -> list[Path]:
    """Every slice of a role that is whole, in the order of their names."""
    return [path for path in sorted(folder.glob(f"{role}_*.npz")) if not path.name.endswith(_ASIDE)]


def group_of(path: Path) -> str:
    """The scan of a slice: its name without the number of the slice."""
    return path.stem.rsplit("_", 1)[0]


def cut(rng: np.random.Generator, clean: NDArray[Any], side: int, *, empty: float) -> tuple[slice, slice]:
    """A random square that shows more than air, or less with probability `empty` at each of eight tries."""
    for _ in range(8):
        y, x = (int(v) for v in rng.integers(0, clean.shape[0] - side + 1, 2))
        place = (slice(y, y + side), slice(x, x + side))
        if np.mean(clean[place] > -900) > 0.3 or rng.random() < empty:
            break
    return place


class Supply(Generic[T]):
    """Slices that train, drawn at random: every group as often as the square root of its size.

    load: every slice of a role that is ready in a folder
    """

    def __init__(self, folder: Path, load: Callable[[Path, Role], list[T]], seed: int) -> None:
        self._folder, self._load, self._seed = folder, load, seed
        self._items: list[T] = []
        self.refresh(0)

    def refresh(self, step: int) -> None:
        """Start a sequence of draws that belongs to the step, so that a resumed run repeats none; see what has come."""
        self.rng = np.random.default_rng([self._seed, step])
        if self._items and len(ready(self._folder, Role.TRAIN)) <= len(self._items) + 5:
            return
        self._items = self._load(self._folder, Role.TRAIN)
        groups = [item.group for item in self._items]
        weight = np.array([groups.count(group) ** -0.5 for group in groups])
        self._weight = weight / weight.sum()

    def draw(self, count: int) -> list[T]:
        """So many slices, with repeats."""
        return [self._items[index] for index in self.rng.choice(len(self._items), count, p=self._weight)]
