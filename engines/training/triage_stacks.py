"""Simulated head CTs on the grid of the triage, as the network, its tables and its score learn from them.

    python -m engines.training.triage_stacks CASES STACKS

brings what engines.training.triage_cases wrote to the grid, with the functions that the node runs. May run beside the
training and be stopped at any moment; stacks that are there are kept.
"""

import argparse
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.head import HeadStack, NoBrain, NotAligned, align, brain_mask, to_grid
from engines.training.headct import Kind
from engines.training.shelf import put, ready
from engines.training.sources import Role
from engines.training.triage_cases import Scanned, all_of, read, role_of

LESION = "lesion-"  # before the role of a stack that is not normal: what trains the network never sees one


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """One examination on the grid of engines/head.py.

    name, group: of the case, and the head it was painted from
    hu:    (32, 224, 192) float16 HU, 0 outside of the brain
    mask:  (32, 224, 192) bool, the brain
    """

    name: str
    group: str
    hu: NDArray[np.float16]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A stack with what it shows; truth (32, 224, 192) bool."""

    group: str
    stack: HeadStack
    truth: NDArray[np.bool_]
    kind: Kind
    volume_ml: float


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """mm between slices along their normal, rows and columns."""
    normal = np.cross(affine[:3, 1], affine[:3, 2])
    along = abs(float(affine[:3, 0] @ normal / np.linalg.norm(normal)))
    return along, float(np.linalg.norm(affine[:3, 1])), float(np.linalg.norm(affine[:3, 2]))


def on_grid(case: Scanned) -> tuple[HeadStack, NDArray[np.bool_]]:
    """The stack, and the lesion on it. raises: NoBrain, NotAligned"""
    voxels = case.voxels.astype(np.float32)
    mask = brain_mask(voxels, spacing_of(case.affine))
    pose = align(voxels, case.affine, mask)
    truth = to_grid(100.0 * case.truth.astype(np.float32), pose, mask).hu > 50.0
    return to_grid(voxels, pose, mask), truth


def load_stacks(folder: Path, role: Role, known: Collection[str] = ()) -> list[Stack]:
    """Every normal stack of a role that is ready, in the order of their names, without those that are known."""
    made = []
    for path in ready(folder, role):
        if path.stem not in known:
            with np.load(path) as arrays:
                made.append(Stack(name=path.stem, group=str(arrays["group"]), hu=arrays["hu"], mask=arrays["mask"]))
    return made


def judged_paths(folder: Path) -> list[Path]:
    """Every stack, normal or not, in the order of their names."""
    return sorted(path for path in folder.glob("*_case_*.npz") if not path.name.endswith(".tmp.npz"))


def number_of(name: str) -> int:
    """The number of a case among those of its head."""
    return int(name.rpartition("_")[2].partition("-")[0])


def load_judged(path: Path) -> Judged:
    """One stack with what it shows."""
    with np.load(path) as arrays:
        stack = HeadStack(hu=arrays["hu"].astype(np.float32), mask=arrays["mask"], voxel_ml=float(arrays["voxel_ml"]))
        truth = np.unpackbits(arrays["truth"], count=stack.mask.size).astype(np.bool_).reshape(stack.mask.shape)
        return Judged(
            group=str(arrays["group"]),
            stack=stack,
            truth=truth,
            kind=Kind(str(arrays["kind"])),
            volume_ml=float(arrays["volume_ml"]),
        )


def prepare(cases: Path, stacks: Path, refused: set[str]) -> None:
    """Bring every case that is not there to the grid; `refused` gains heads that were not found or did not fit."""
    for path in all_of(cases):
        if path.stem in refused:
            continue
        case = read(path)
        mark = "" if case.kind is Kind.NORMAL else LESION
        made = stacks / f"{mark}{path.stem}.npz"
        if made.exists():
            continue
        try:
            stack, truth = on_grid(case)
        except (NoBrain, NotAligned) as error:
            print(f"{path.stem} ({case.kind}): {error}")
            refused.add(path.stem)
            continue
        assert path.name.startswith(role_of(case.head))
        put(
            made,
            group=f"head-{case.head}",
            hu=stack.hu.astype(np.float16),
            mask=stack.mask,
            voxel_ml=stack.voxel_ml,
            truth=np.packbits(truth),
            kind=str(case.kind),
            volume_ml=case.volume_ml,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0, help="go on looking for new cases for so long")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60.0 * arguments.minutes
    refused: set[str] = set()
    while True:
        prepare(arguments.cases, arguments.to, refused)
        if time.monotonic() > until:
            return
        time.sleep(5.0)


if __name__ == "__main__":
    main()
