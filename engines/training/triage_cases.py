"""Simulated examinations for the triage, kept as they were scanned, so that a change of the preparation needs no paint.

    python -m engines.training.triage_cases CASES --count 40
    python -m engines.training.triage_cases CASES --count 40 --lesions
    python -m engines.training.triage_cases CASES --count 30 --worn      brains that have shrunk; with --lesions, too

Of heads 01 to 04 only; may be stopped and started again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import CHOOSE, DATA, HELD_BACK
from engines.training.headct import Case, Kind, abnormal_head, normal_head
from engines.training.shelf import put, ready
from engines.training.sources import Role

SIZE = 320  # pixels: the grid of the triage has 1 mm
SEED, LESION_SEED = 60_000, 65_000  # of the first normal case and the first other one, far from those that judge
KINDS = (
    Kind.ICH, Kind.INFARCT, Kind.SDH, Kind.MASS, Kind.SAH, Kind.ICH, Kind.EDH, Kind.INFARCT, Kind.IVH,
    Kind.HYDROCEPHALUS,
)  # fmt: skip
"""In turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """A case as it is kept: voxels and truth (z, y, x), affine (4, 4), and what it shows."""

    name: str
    voxels: NDArray[np.int16]
    affine: NDArray[np.float64]
    truth: NDArray[np.bool_]
    kind: Kind
    volume_ml: float
    head: int


def role_of(head: int) -> Role:
    """Heads 01 to 03 train, 04 chooses. raises: ValueError for a head that is held back"""
    if head in HELD_BACK:
        raise ValueError(f"Head {head} is held back; heads 1 to 4 train and choose.")
    return Role.CHOOSE if head in CHOOSE else Role.TRAIN


def make(
    folder: Path, heads: Sequence[int], numbers: range, *, lesions: bool, worn: bool = False, data: Path = DATA
) -> None:
    """Write cases of every head, normal or with lesions; those that exist are kept."""
    for number in numbers:
        for head in heads:
            path = folder / f"{role_of(head)}_case_{number:04d}-{head}{'w' * worn}{'l' * lesions}.npz"
            if not path.exists():
                put(path, **kept(drawn(number, head, lesions=lesions, worn=worn, data=data)))


def drawn(number: int, head: int, *, lesions: bool, worn: bool = False, data: Path = DATA) -> Case:
    """Case `number` of a head."""
    if not lesions:
        rng = np.random.default_rng([SEED + number, head, *[1] * worn])
        return normal_head(rng, head, size=SIZE, worn=worn, data=data)
    rng = np.random.default_rng([LESION_SEED + number, head, *[1] * worn])
    return abnormal_head(rng, head, KINDS[number % len(KINDS)], size=SIZE, worn=worn, data=data)


def kept(case: Case) -> dict[str, Any]:
    """What is written of a case."""
    return {
        "voxels": case.voxels.astype(np.int16),
        "affine": case.affine,
        "truth": np.packbits(case.truth),
        "kind": str(case.kind),
        "volume_ml": case.volume_ml,
        "head": case.head,
    }


def read(path: Path) -> Scanned:
    """What `make` wrote."""
    with np.load(path) as arrays:
        voxels = arrays["voxels"]
        truth = np.unpackbits(arrays["truth"], count=voxels.size).astype(np.bool_).reshape(voxels.shape)
        return Scanned(
            name=path.stem,
            voxels=voxels,
            affine=arrays["affine"],
            truth=truth,
            kind=Kind(str(arrays["kind"])),
            volume_ml=float(arrays["volume_ml"]),
            head=int(arrays["head"]),
        )


def all_of(folder: Path) -> list[Path]:
    """Every case that is whole, all heads in turn."""
    found = [path for role in (Role.TRAIN, Role.CHOOSE) for path in ready(folder, role)]
    return sorted(found, key=lambda path: path.stem.rpartition("_")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", type=Path)
    parser.add_argument("--heads", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=40, help="of each head")
    parser.add_argument("--lesions", action="store_true", help="heads with lesions, their kinds in turn")
    parser.add_argument("--worn", action="store_true", help="brains that have shrunk")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    numbers = range(arguments.first, arguments.first + arguments.count)
    make(
        arguments.to,
        arguments.heads,
        numbers,
        lesions=arguments.lesions,
        worn=arguments.worn,
        data=arguments.data,
    )


if __name__ == "__main__":
    main()
