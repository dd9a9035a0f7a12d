"""NETWORKS D5: the triage of head CT against a rule on HU, the asymmetry, and z against an atlas without network.

Simulated heads that are held back (05, 06): over 100 normal, over 200 with a lesion, others out of scope. The pipeline
judges them as the node does: gate, guards, network, score. Nothing here is an accuracy in patients.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.engine import EngineSpec
from engines.head import HeadStack, NoBrain, NotAligned, Pose, align, brain_mask, to_grid
from engines.head_features import asymmetry
from engines.ort import OrtEngine
from engines.training.evaluate_triage_cases import (
    ATLAS,
    SIZE,
    Judge,
    Task,
    all_tasks,
    header,
    header_of,
    made_case,
    tasks_of,
)
from engines.training.evaluate_triage_lines import Part, Row, acceptance, summary
from engines.training.evaluation import spread
from engines.training.head_labels import HELD_BACK, path_of
from engines.training.headct import Case
from engines.training.headct_baselines import Atlas, atlas, blood_ml
from engines.training.headct_measures import lies_near
from engines.training.headct_scope import Odd, odd_head
from engines.training.measures import noise_power

_engine: list[OrtEngine] = []
_judge: list[Judge] = []
_atlas: list[Atlas] = []


def start(spec: EngineSpec, judge: Judge, normal: Atlas | None) -> None:
    """Each process has its own engine."""
    _engine[:] = [OrtEngine(spec, threads=1)]
    _judge[:] = [judge]
    _atlas[:] = [normal] if normal is not None else []
    _engine[0].__enter__()


def on_grid(voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> tuple[HeadStack, Pose] | None:
    """As the pipeline does it; None when there is no brain or it does not fit."""
    z, y, x = (float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0))
    try:
        mask = brain_mask(voxels, (z, y, x))
        pose = align(voxels, affine, mask)
    except (NoBrain, NotAligned):
        return None
    return to_grid(voxels, pose, mask), pose


def stacked(task: Task) -> HeadStack | None:
    """A normal head on the grid, for the atlas."""
    case = made_case(task)
    found = on_grid(case.voxels, case.affine)
    return found[0] if found is not None else None


def measure(task: Task) -> Row:
    """Every figure of every method in one case."""
    if task.part is Part.ODD:
        return _odd(task)
    case = made_case(task)
    said = _judge[0](_engine[0], case.voxels, case.affine, header_of(case))
    scores: dict[str, float] = {}
    peaks: dict[str, bool] = {}
    placed = on_grid(case.voxels, case.affine)
    if placed is not None:
        stack, pose = placed
        z = _atlas[0].z(stack)
        scores |= {
            "threshold rule": blood_ml(stack),
            "asymmetry index": asymmetry(stack),
            "atlas z-map": _atlas[0].score(z),
        }
        if case.truth.any():
            at = np.array([*np.unravel_index(int(np.argmax(np.abs(z))), z.shape), 1.0])
            peaks["atlas z-map"] = lies_near((pose.matrix @ at)[:3], case.truth, case.affine)
    marks: tuple[tuple[float, bool], ...] = ()
    if said.logit is not None and said.z is not None and said.region is not None:
        scores["network"] = said.logit
        marks = _marks(said.z, said.region, case)
        if case.truth.any():
            peaks["network"] = said.peak is not None and lies_near(said.peak, case.truth, case.affine)
    return Row(
        part=task.part,
        kind=task.kind,
        group=f"head {task.head:02d}",
        volume_ml=case.volume_ml,
        scores=scores,
        probability=said.probability,
        flagged=said.flagged,
        peaks=peaks,
        marks=marks,
        plain=_plain(case, placed[0] if placed is not None else None),
        reasons=said.reasons,
        facts={**case.facts, **task.facts, "seed": task.seed},
    )


def _odd(task: Task) -> Row:
    case = odd_head(np.random.default_rng([task.seed, task.head]), task.head, Odd(task.kind), size=SIZE, data=task.data)
    plain = header(case.voxels, case.affine)
    alone = _judge[0](_engine[0], case.voxels, case.affine, plain)
    said = alone
    if alone.logit is not None:  # the header may know better
        said = _judge[0](_engine[0], case.voxels, case.affine, {**plain, **case.headers})
    return Row(
        part=task.part,
        kind=task.kind,
        group=f"head {task.head:02d}",
        scores={"network": said.logit} if said.logit is not None else {},
        probability=said.probability,
        flagged=said.flagged,
        reasons=said.reasons,
        by_image=alone.logit is None,
        facts=case.facts,
    )


def _marks(z: NDArray[np.float32], region: NDArray[np.bool_], case: Case) -> tuple[tuple[float, bool], ...]:
    """Each piece of the region: its strongest z, and whether that lies on the lesion."""
    pieces, count = ndimage.label(region)
    if not count:
        return ()
    numbers = range(1, count + 1)
    size = np.abs(z)
    strengths = ndimage.maximum(size, pieces, numbers)
    places = ndimage.maximum_position(size, pieces, numbers)
    order = np.argsort(-np.asarray(strengths))[:20]
    return tuple((float(strengths[k]), lies_near(places[k], case.truth, case.affine)) for k in order)


def _plain(case: Case, stack: HeadStack | None) -> tuple[float, ...]:
    """What an insertion could leave behind, lesion or not: noise, sharpness, values, edges. Not what the score uses."""
    image = case.voxels[len(case.voxels) // 2]
    middle = image[SIZE // 2 - 64 : SIZE // 2 + 64, SIZE // 2 - 64 : SIZE // 2 + 64]
    pixel = case.spacing_mm[1]
    blocks = np.stack([middle[a : a + 32, b : b + 32] for a in range(0, 128, 32) for b in range(0, 128, 32)])
    _, power = noise_power(blocks, pixel)
    fine = np.abs(np.diff(np.clip(middle, -20, 90), 2)).mean()
    hu = stack.hu[stack.mask] if stack is not None else np.zeros(1)
    share = np.histogram(hu, bins=(-20, 5, 15, 25, 30, 35, 40, 50, 90))[0] / max(len(hu), 1)
    return (*np.log10(power[::4] + 1e-3).tolist(), float(fine), *share.tolist(), float(np.mean(hu)), float(np.std(hu)))


def evaluate(
    spec: EngineSpec, *, data: Path, to: Path | None, jobs: int, every: int = 1, judge: Judge
) -> dict[str, Any]:
    """The whole of D5; see `engines.training.evaluation.evaluate`. judge: the pipeline"""
    from engines.training.evaluate_triage_real import real_cases

    fits = tasks_of(Part.ATLAS, max(-(-ATLAS // every), 5), 0, data)
    normal = atlas([stack for stack in spread(stacked, fits, jobs=jobs) if stack is not None])
    tasks = all_tasks(data, every)
    given = (spec, judge, normal)
    rows = list(spread(measure, tasks, jobs=jobs, start=start, given=given))
    figures = summary(rows)
    start(*given)
    figures["real"] = real_cases(_judge[0], _engine[0], data)
    if to is not None:
        from engines.training.evaluate_triage_pictures import drawn

        drawn(to, list(zip(tasks, rows, strict=True)), figures)
    return {
        "acceptance": [line.as_json() for line in acceptance(rows)],
        "figures": figures,
        "scores": {
            "normal": _logits(rows, Part.NORMAL),
            "abnormal": _logits(rows, Part.ABNORMAL),
            "threshold": round(judge.threshold, 4),
            "percentiles": [round(v, 4) for v in judge.percentiles],
        },
        "items": [
            {
                "path": f"labels/{path_of(head).name}",
                "sha256": hashlib.sha256(path_of(head, data).read_bytes()).hexdigest(),
            }
            for head in HELD_BACK
        ],
    }


def _logits(rows: Sequence[Row], part: Part) -> list[float]:
    return [round(row.scores["network"], 4) for row in rows if row.part is part and row.analysed]
