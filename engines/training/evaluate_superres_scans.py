"""The scans that judge super-resolution, and the committed network on them as the node runs it. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from engines.ort import OrtEngine
from engines.slabs import SUPPORT, consistent, to_factor
from engines.training.tof_acquire import Acquisition, Profile
from engines.training.tof_baselines import METHODS
from engines.training.tof_cases import Case, case
from engines.training.tof_head import HELD_BACK

Volume = NDArray[np.float32]

PROFILES = (Profile.FOURIER, Profile.BOX, Profile.FOURIER, Profile.GAUSS)
VOLUMES = 24
PROBES_MM = (3.0, 3.5, 4.0, 4.5, 5.0)
OTHERS = ((4.0, 2), (4.0, 3), (4.0, 5), (4.0, 6), (3.0, 4), (5.0, 4), (6.0, 4), (2.0, 2))  # spacing, factor
EACH = 4
ALL = ("nearest", "linear", "cubic", "back_projection", "network")
_engine: list[OrtEngine] = []


@dataclass(frozen=True, kw_only=True)
class Task:
    """One simulated scan; `full`: every figure, else error and overlap only."""

    head: int
    seed: int
    profile: Profile
    spacing_mm: float = 4.0
    factor: int = 4
    full: bool = True
    data: Path

    def made(self) -> Case:
        """Simulate it."""
        rng = np.random.default_rng([self.head, self.seed, 3])
        sizes = (*rng.permutation(PROBES_MM)[:4], *rng.uniform(5.0, 7.0, 1)) if self.full else None
        return case(
            self.head,
            self.seed,
            profile=self.profile,
            spacing_mm=self.spacing_mm,
            factor=self.factor,
            diameters_mm=sizes,
            slabs=40 if self.full else int(72 / self.spacing_mm),
            side=192 if self.full else 128,
            data=self.data,
        )


def start(spec: EngineSpec) -> None:
    """Once in every process."""
    _engine.append(OrtEngine(spec, threads=1).__enter__())


def network(thick: Volume, _: Acquisition | None, factor: int) -> Volume:
    """The committed network as the pipeline uses it: the outermost slabs repeated, then averaged to the factor.

    thick:   (z, y, x) ART, y and x multiples of 8
    returns: (factor z, y, x) ART, none below 0, their averages the slabs
    """
    wide = np.pad(thick, ((SUPPORT, SUPPORT), (0, 0), (0, 0)), mode="edge")
    made = []
    for k, slab in enumerate(thick):
        fed = np.ascontiguousarray(wide[None, k : k + 2 * SUPPORT + 1])
        made.append(consistent(to_factor(_engine[0].infer({"slices": fed})["thin"][0], factor), slab))
    return np.concatenate(made)


def results(thick: Volume, acquisition: Acquisition, factor: int, methods: Sequence[str] = ALL) -> dict[str, Volume]:
    """Thin slices by every method."""
    return {
        name: network(thick, acquisition, factor) if name == "network" else METHODS[name](thick, acquisition, factor)
        for name in methods
    }


def tasks_of(data: Path, every: int = 1) -> list[Task]:
    """The scans at 4 mm and factor 4, half of them 3-D; the two heads in turn."""
    return [
        Task(head=HELD_BACK[k % 2], seed=1000 + k, profile=PROFILES[k // 2 % 4], data=data)
        for k in range(0, VOLUMES, every)
    ]


def other_tasks(data: Path, every: int = 1) -> list[Task]:
    """Other spacings and factors, a few scans each."""
    return [
        Task(
            head=HELD_BACK[k % 2],
            seed=2000 + k,
            profile=PROFILES[k],
            spacing_mm=spacing,
            factor=factor,
            full=False,
            data=data,
        )
        for spacing, factor in OTHERS
        for k in range(0, EACH, every)
    ]
