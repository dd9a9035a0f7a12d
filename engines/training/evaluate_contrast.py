"""NETWORKS D3: the contrast network against a line through T1 and a regression on all three series.

Simulated heads that are held back (05, 06): lesions whose leak is as strong as an independent draw says, and in four of
ten lesions is there or not whatever they look like. One threshold of enhancement for all methods, and the scale of
`spread`, come from head 04. Real cases are reported and judge nothing: one glioma with, one stroke without contrast.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from engines.ort import OrtEngine
from engines.training import contrast_measures as measured
from engines.training.contrast_cases import Case, case
from engines.training.contrast_lesions import INDEPENDENT, QUIET, Kind
from engines.training.contrast_lines import METHODS, Part, Row, acceptance, summary, volumes
from engines.training.contrast_measures import Linear, enhancement, fit, prepared
from engines.training.contrast_real import real_cases
from engines.training.evaluation import spread
from engines.training.head_labels import CHOOSE, HELD_BACK, TRAIN, path_of

THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)  # blood alone takes grey matter near 0.15
FOUND = 0.8  # of lesions, at the threshold that is chosen: D3
CHOOSING = (Part.CHOOSE, Part.CHOOSE_QUIET, Part.CHOOSE_FREE)
WITHOUT_LEAK = (Part.QUIET, Part.CHOOSE_QUIET)
GAPS = (3.0, 4.0, 5.0, 2.0, 4.0)  # mm between slices, in turn
VOXELS = 20_000  # of each case that fits the baselines
COVERED = 0.95
PRESENT = ((True, True, True), (True, True, False), (True, False, True))

_engine: list[OrtEngine] = []
_linear: list[Linear] = []


@dataclass(frozen=True, kw_only=True)
class Task:
    """One case and what to do with it."""

    part: Part
    head: int
    seed: int
    gap_mm: float
    data: Path
    threshold: Mapping[str, float]
    scale: float = 1.0  # of spread

    @property
    def missing(self) -> str:
        """The series that is left out."""
        return {Part.NO_FLAIR: "flair", Part.NO_T2: "t2"}.get(self.part, "")

    @property
    def group(self) -> str:
        """Of the bootstrap."""
        return f"{self.head}-{self.seed}"


def start(spec: EngineSpec, linear: Linear | None) -> None:
    """Once in every process."""
    _engine.append(OrtEngine(spec, threads=1).__enter__())
    if linear is not None:
        _linear.append(linear)


def made_case(task: Task) -> Case:
    """The simulated case of a task."""
    kinds: Sequence[Kind] = QUIET if task.part in WITHOUT_LEAK else tuple(Kind)
    return case(
        task.head,
        task.seed,
        spacing_mm=task.gap_mm,
        kinds=kinds,
        lesions=0 if task.part in (Part.FREE, Part.CHOOSE_FREE) else 3,
        data=task.data,
        independent=0.0 if task.part in WITHOUT_LEAK else INDEPENDENT,
    )


def sampled(task: Task) -> tuple[dict[tuple[bool, bool, bool], NDArray[np.float64]], Any, Any]:
    """Voxels of a case that trains, for the baselines: half of them truly enhance, as far as there are so many."""
    shown = made_case(task)
    series = {"t1": shown.t1, "t2": shown.t2, "flair": shown.flair}
    full = prepared(series)
    rng = np.random.default_rng([task.head, task.seed])
    inside = shown.brain & (full.images["t1"] > measured.SIGNAL)
    where = np.zeros(inside.shape, dtype=bool)
    for part in (inside & shown.enhancing, inside & ~shown.enhancing):
        flat = np.flatnonzero(part)
        where.reshape(-1)[rng.choice(flat, min(VOXELS // 2, len(flat)), replace=False)] = True
    names = {PRESENT[0]: "", PRESENT[1]: "flair", PRESENT[2]: "t2"}
    columns = {present: measured.features(prepared(series, missing), where) for present, missing in names.items()}
    return columns, full.images["t1"][where], (shown.post / np.float32(full.unit))[where]


def results(task: Task, shown: Case) -> tuple[dict[str, Any], Any, Any, Any]:
    """Post of every method and the truth in WM, T1 in WM, and spread."""
    given = prepared({"t1": shown.t1, "t2": shown.t2, "flair": shown.flair}, task.missing)
    post, unsure = measured.run(_engine[0], given)
    made = {**_linear[0].apply(given), "network": post, "truth": (shown.post / np.float32(given.unit)).astype("f4")}
    return made, given.images["t1"], unsure, given


def measure(task: Task) -> Row:
    """Every figure of every method in one case."""
    shown = made_case(task)
    made, t1, unsure, _ = results(task, shown)
    true = enhancement(made["truth"], t1)
    row: Row = {"white": {}}
    thresholds = THRESHOLDS if task.part in CHOOSING else ()
    for name in METHODS:
        ours = enhancement(made[name], t1)
        row[name] = {"findings": measured.findings(ours, true, shown, task.threshold.get(name, 0.2))}
        if thresholds:
            row[name]["by_threshold"] = {t: measured.findings(ours, true, shown, t) for t in thresholds}
        if task.part is Part.LESIONS and name != "network":
            row[name]["own"] = measured.findings(ours, true, shown, task.threshold[f"{name} own"])
        where = shown.enhancing & shown.search
        if np.count_nonzero(where) * shown.voxel_ml >= 0.2:
            row[name]["region"] = measured.in_region(made[name], made["truth"], where)
        row[name]["controls"] = measured.controls(ours, true, shown)
        white = shown.nawm & (t1 > measured.SIGNAL)
        row[name]["nawm_percent"] = 100.0 * float(made[name][white].mean() / t1[white].mean() - 1.0)
    error = np.abs(made["network"] - made["truth"]) / unsure
    inside = shown.brain & (t1 > measured.SIGNAL)
    row["ratio"] = np.quantile(error[inside], np.linspace(0.0, 1.0, 401)).tolist() if thresholds else []
    row["covered"] = float(np.mean(error[inside] <= task.scale))
    lesions = shown.numbers > 0
    row["covered_lesions"] = float(np.mean(error[lesions] <= task.scale)) if lesions.any() else None
    row["true_nawm_percent"] = 100.0 * float(true[shown.nawm].mean())
    return row


def tasks_of(part: Part, heads: Sequence[int], count: int, first: int, data: Path, **given: Any) -> list[Task]:
    """So many cases of a part, heads in turn."""
    return [
        Task(part=part, head=heads[k % len(heads)], seed=first + k, gap_mm=GAPS[k % len(GAPS)], data=data, **given)
        for k in range(count)
    ]


def chosen(rows: Sequence[Row]) -> tuple[dict[str, float], float]:
    """The threshold for all methods, each baseline's own best one, and the scale of spread, from head 04.

    The best agreement of volumes among the thresholds at which the network finds FOUND of the lesions; of the lowest
    threshold if at none. Cases without leaks and without lesions are among them, so that what is false counts.
    """
    agreed = {
        name: {
            t: measured.concordance(*zip(*[volumes(row[name]["by_threshold"][t]) for row in rows], strict=True))
            for t in THRESHOLDS
        }
        for name in METHODS
    }
    found = {t: [v for row in rows for v in row["network"]["by_threshold"][t]["found"]] for t in THRESHOLDS}
    allowed = [t for t in THRESHOLDS if np.mean(found[t]) >= FOUND] or [THRESHOLDS[0]]
    common = dict.fromkeys(METHODS, max(allowed, key=lambda t: agreed["network"][t]))
    own = {f"{name} own": max(THRESHOLDS, key=lambda t: agreed[name][t]) for name in METHODS if name != "network"}
    ratios = np.array([row["ratio"] for row in rows])
    return {**common, **own}, float(np.quantile(ratios, COVERED))


def evaluate(spec: EngineSpec, *, data: Path, to: Path | None, jobs: int, every: int = 1) -> dict[str, Any]:
    """The whole of D3; see `engines.training.evaluation.evaluate`."""
    few = max(every, 1)
    fits = tasks_of(Part.FIT, TRAIN, max(9 // few, 2), 500, data, threshold={})
    linear = fit(list(spread(sampled, fits, jobs=jobs)))
    given = (spec, linear)
    start(*given)
    choosing = [
        task
        for part, count, first in zip(CHOOSING, (16, 6, 4), (600, 640, 680), strict=True)
        for task in tasks_of(part, CHOOSE, -(-count // few), first, data, threshold={})
    ]
    threshold, scale = chosen(list(spread(measure, choosing, jobs=jobs, start=start, given=given)))
    told = {"threshold": threshold, "scale": scale}
    tasks = [
        *tasks_of(Part.LESIONS, HELD_BACK, -(-40 // few), 700, data, **told),
        *tasks_of(Part.FREE, HELD_BACK, -(-8 // few), 800, data, **told),
        *tasks_of(Part.QUIET, HELD_BACK, -(-12 // few), 900, data, **told),
        *tasks_of(Part.NO_FLAIR, HELD_BACK, -(-8 // few), 700, data, **told),
        *tasks_of(Part.NO_T2, HELD_BACK, -(-8 // few), 700, data, **told),
    ]
    rows = list(zip(tasks, spread(measure, tasks, jobs=jobs, start=start, given=given), strict=True))
    figures = summary(rows)
    figures["threshold"] = {name: value for name, value in threshold.items() if name != "network"}
    figures["spread_scale"] = scale
    figures["real"] = real_cases(_engine[0], linear, data, threshold["network"])
    figures["pairs_ml"] = [
        [round(v, 2) for v in volumes(row["network"]["findings"])] for task, row in rows if task.part is Part.LESIONS
    ]
    if to is not None:
        drawn(to, rows, figures, linear, data)
    return {
        "acceptance": [line.as_json() for line in acceptance(rows)],
        "figures": figures,
        "items": [
            {
                "path": f"labels/{path_of(head).name}",
                "sha256": hashlib.sha256(path_of(head, data).read_bytes()).hexdigest(),
            }
            for head in HELD_BACK
        ],
    }


def drawn(to: Path, rows: Sequence[tuple[Task, Row]], figures: Mapping[str, Any], linear: Linear, data: Path) -> None:
    """The pictures: the cases with the largest and a middling agreement, one that enhances falsely, the worst."""
    from engines.training import contrast_pictures

    with_lesions = [(task, row["network"]["findings"]) for task, row in rows if task.part is Part.LESIONS]
    true = [(task, found) for task, found in with_lesions if found["true_ml"] > 2.0 and found["found"]]
    off = sorted(true, key=lambda pair: abs(pair[1]["ours_ml"] / pair[1]["true_ml"] - 1.0))
    picked = {"good": off[0][0], "middling": off[len(off) // 2][0], "worst": off[-1][0]}
    picked["false"] = max(with_lesions, key=lambda pair: pair[1]["false_ml"])[0]
    shown = {}
    for title, task in picked.items():
        one = made_case(task)
        made, t1, unsure, given = results(task, one)
        shown[f"{title} ({task.group})"] = contrast_pictures.rows_of(one, made, t1, unsure, given)
    contrast_pictures.triples(to, shown, "mr_postcontrast_cases")
    contrast_pictures.agreement(to, figures["pairs_ml"], "mr_postcontrast_bland_altman")
    contrast_pictures.real(to, _engine[0], linear, data)
