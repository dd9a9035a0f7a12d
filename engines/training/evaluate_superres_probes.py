"""The measured through-plane width of thin slices: wires, points and edges, by every method and both kinds of scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.slabs import tof_unit
from engines.training import measures, tof_probes
from engines.training.tof_acquire import Profile
from engines.training.tof_head import HELD_BACK

SPACING_MM, FACTOR = 4.0, 4
METHODS = ("cubic", "back_projection", "network")
PHASES = (-0.25, 0.0, 0.125, 0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One board of probes, and edges with it."""

    head: int
    seed: int
    profile: Profile
    data: Path


def tasks(data: Path, every: int = 1) -> list[Task]:
    """Boards in both heads, every profile as often."""
    return [
        Task(head=HELD_BACK[k % 2], seed=3000 + k, profile=list(Profile)[k // 2 % 3], data=data)
        for k in range(0, 12, every)
    ]


def measure(task: Task) -> dict[str, dict[str, list[float]]]:
    """Widths along z by method, mm: wires, points, edges."""
    from engines.training.evaluate_superres_scans import results

    board = tof_probes.board(task.head, task.seed, task.profile, spacing_mm=SPACING_MM, factor=FACTOR, data=task.data)
    unit = np.float32(tof_unit(board.thick))
    volumes = results(board.thick / unit, board.acquisition, FACTOR, METHODS) | {"truth": board.thin / unit}
    found = {
        name: {
            "wires": tof_probes.read(volume, board.wires, SPACING_MM / FACTOR),
            "points": tof_probes.read(volume, board.points, SPACING_MM / FACTOR),
        }
        for name, volume in volumes.items()
    }
    for name in METHODS:

        def method(thick: Any, acquisition: Any, factor: int, name: str = name) -> Any:
            return results(thick, acquisition, factor, (name,))[name]

        found[name]["edges"] = [
            tof_probes.edge(task.profile, phase, task.seed, method, spacing_mm=SPACING_MM, factor=FACTOR)
            for phase in PHASES[task.seed % 2 :: 2]
        ]
    return found


def summary(boards: Sequence[Task], seen: Sequence[dict[str, dict[str, list[float]]]]) -> dict[str, Any]:
    """Median width of each board, then mean and interval over boards; by method and probe, and by profile."""
    made: dict[str, Any] = {}
    for name in (*METHODS, "truth"):
        made[name] = {}
        for probe in ("wires", "points", "edges"):
            rows = [(task, row[name][probe]) for task, row in zip(boards, seen, strict=True) if row[name].get(probe)]
            if not rows:
                continue
            made[name][probe] = measures.interval([float(np.median(values)) for _, values in rows]).as_json()
            made[name][f"{probe}_by_profile"] = {
                kind: round(float(np.median([v for task, values in rows if task.profile is kind for v in values])), 3)
                for kind in Profile
                if any(task.profile is kind for task, _ in rows)
            }
            made[name][f"{probe}_read"] = sum(len(values) for _, values in rows)
    return made
