"""NETWORKS D4: super-resolution of time-of-flight angiography against interpolation and iterative back-projection.

Simulated scans of the heads that were held back, with trees of their own, by both kinds of scan; the slice profile is
known to back-projection and to nothing else. Truth is the scan's thin averages without noise. Everything is divided by
the unit that the node would measure on the thick slices, as the network is fed. Vessels: one top-hat and one threshold,
chosen on the head that chooses the checkpoint. Real volumes judge beside it; none of them trains.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.engine import EngineSpec
from engines.slabs import averaged, fourier_consistent, tof_unit
from engines.training import measures, tof_measures
from engines.training.evaluate_superres_scans import OTHERS, Task, other_tasks, results, start, tasks_of
from engines.training.evaluation import spread
from engines.training.tof_acquire import Profile
from engines.training.tof_cases import Case
from engines.training.tof_head import HELD_BACK

Volume = NDArray[np.float32]
Row = dict[str, dict[str, float]]  # method, figure


def measure(task: Task) -> Row:
    """Every figure of every method on one scan."""
    one = task.made()
    unit = np.float32(tof_unit(one.thick))
    thick, truth = one.thick / unit, one.thin / unit
    made = results(thick, one.acquisition, task.factor)
    if task.profile is Profile.FOURIER:
        made["network_fourier"] = np.maximum(fourier_consistent(made["network"], thick, task.factor), 0.0)
    sizes = (one.spacing_mm / one.factor, one.pixel_mm, one.pixel_mm)
    near = ndimage.binary_dilation(one.arteries > 0.05, iterations=2) & one.brain
    planes = tof_measures.projections(truth, one.brain)
    found: Row = {}
    for name, volume in made.items():
        row = found[name] = {
            "psnr": tof_measures.psnr(volume, truth, one.brain),
            "psnr_vessels": tof_measures.psnr(volume, truth, near),
            "residual_percent": 100.0 * float(np.abs(averaged(volume, task.factor) - thick).max()),
        }
        seen = tof_measures.projections(volume, one.brain)
        for plane, mine, theirs in zip(("axial", "coronal", "sagittal"), seen, planes, strict=True):
            row[f"ms_ssim_{plane}"] = tof_measures.ms_ssim(mine, theirs)
        row["ms_ssim"] = float(np.mean([row[f"ms_ssim_{plane}"] for plane in ("axial", "coronal", "sagittal")]))
    if task.full:
        _vessels(one, {**made, "truth": truth}, found, sizes)
    else:
        for name, volume in {**made, "truth": truth}.items():
            found.setdefault(name, {})["dice"] = tof_measures.dice(
                tof_measures.vessels(volume, sizes, one.brain), one.vessels & one.brain
            )
    return found


def _vessels(one: Case, volumes: Mapping[str, Volume], found: Row, sizes: tuple[float, float, float]) -> None:
    real = one.vessels & one.brain
    line = tof_measures.skeleton(real)
    masks = {name: tof_measures.vessels(volume, sizes, one.brain) for name, volume in volumes.items()}
    sacs = [sac for sac in one.aneurysms if 3.0 <= sac.diameter_mm <= 5.0]
    visible = [sac for sac in sacs if tof_measures.found(masks["truth"], sac, sizes)]
    real_or_seen = (one.arteries + one.veins > 0.02) | masks["truth"]
    for name, mask in masks.items():
        row = found.setdefault(name, {})
        row["dice"] = tof_measures.dice(mask, real)
        row["aneurysms_visible"] = float(len(visible))
        row["aneurysms_found"] = float(sum(tof_measures.found(mask, sac, sizes) for sac in visible))
        if name in ("cubic", "back_projection", "network", "truth"):
            own = tof_measures.skeleton(mask)
            row["cldice"] = tof_measures.cl_dice(mask, real, own, line)
            row["false_length_percent"] = tof_measures.false_length(own, real_or_seen, sizes)
    names = ("cubic", "back_projection", "network", "truth")
    rng = np.random.default_rng(0)
    widths = tof_measures.widths([volumes[name] for name in names], one.tree, sizes, rng)
    widths = widths[np.isfinite(widths).all(axis=1)]
    for k, name in enumerate(names[:3]):
        if len(widths) >= 5:
            found[name]["diameter_bias_mm"] = float(np.mean(widths[:, k] - widths[:, 3]))
            found[name]["diameter_off_mm"] = float(np.mean(np.abs(widths[:, k] - widths[:, 3])))
            found[name]["diameters"] = float(len(widths))


def evaluate(spec: EngineSpec, *, data: Path, to: Path | None, jobs: int, every: int = 1) -> dict[str, Any]:
    """The whole of D4; see `engines.training.evaluation.evaluate`."""
    from engines.training import evaluate_superres_lines as acceptance
    from engines.training import evaluate_superres_probes as probes
    from engines.training import evaluate_superres_real as real

    start(spec)
    tasks, others = tasks_of(data, every), other_tasks(data, every)
    boards = probes.tasks(data, every)
    rows = list(spread(measure, tasks, jobs=jobs, start=start, given=(spec,)))
    few = list(spread(measure, others, jobs=jobs, start=start, given=(spec,)))
    seen = list(spread(probes.measure, boards, jobs=jobs, start=start, given=(spec,)))
    figures: dict[str, Any] = {
        "simulated": summary(rows),
        "simulated_by_profile": {
            kind: summary([row for row, task in zip(rows, tasks, strict=True) if task.profile is kind])
            for kind in dict.fromkeys(task.profile for task in tasks)
        },
        "others": {
            f"{spacing:g} mm, factor {factor}": summary(
                [row for row, t in zip(few, others, strict=True) if (t.spacing_mm, t.factor) == (spacing, factor)]
            )
            for spacing, factor in OTHERS
        },
        "scans": [
            {"head": task.head, "seed": task.seed, "profile": task.profile}
            | {name: round(row[name]["psnr"], 3) for name in ("cubic", "back_projection", "network")}
            for task, row in zip(tasks, rows, strict=True)
        ],
        "probes": probes.summary(boards, seen),
        "real": real.measured(data),
    }
    if to is not None:
        from engines.training import pictures_superres

        pictures_superres.superres(to, tasks)
    return {
        "acceptance": [line.as_json() for line in acceptance.lines(rows, tasks, figures)],
        "figures": figures,
        "items": listed(data, tasks),
    }


def column(rows: Sequence[Row], method: str, name: str) -> list[float]:
    """A figure of every scan that has it."""
    return [row[method][name] for row in rows if name in row.get(method, {})]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means and intervals by method and figure, over scans."""
    methods = dict.fromkeys(name for row in rows for name in row)
    return {
        method: {
            name: measures.interval(column(rows, method, name)).as_json()
            for name in dict.fromkeys(key for row in rows for key in row.get(method, {}))
        }
        for method in methods
    }


def listed(data: Path, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Every file that judges, with its digest; for the simulations the seeds."""
    names = [f"labels/head_labels_{number:02d}.nii.gz" for number in HELD_BACK]
    names += ["mr/t1_mprage_studyforrest_0.67mm.nii.gz", "mr/t1gd_vs-seg-001_0.41x0.41x1.5mm.nii.gz"]
    return [
        {
            "path": name,
            "sha256": hashlib.sha256((data / name).read_bytes()).hexdigest(),
            "role": "held-back" if name.startswith("labels") else "real, judges only",
            "seeds": [task.seed for task in tasks if f"_{task.head:02d}." in name],
        }
        for name in names
    ]
