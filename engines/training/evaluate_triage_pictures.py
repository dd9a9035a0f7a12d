"""The pictures of the triage's card: ROC and FROC, calibration, and cases found and missed. All simulated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from engines.training.evaluate_triage_cases import Task, made_case
from engines.training.evaluate_triage_lines import METHODS, Part, Row
from engines.training.plots import saved

NAME = "head_ct_triage"


def drawn(to: Path, rows: Sequence[tuple[Task, Row]], figures: Mapping[str, Any]) -> None:
    """All of them."""
    curves(to, figures)
    reliability(to, figures["calibration"])
    cases(to, rows)


def curves(to: Path, figures: Mapping[str, Any]) -> Path:
    """ROC of every method, and FROC of the network's map."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.6), layout="constrained")
    for method in METHODS:
        points = np.array(figures["roc"][method])
        auc = figures["groups"]["all"][method]["auc"]
        title = f"{method}, AUC {auc['mean']:.3f} [{auc['low']:.2f}, {auc['high']:.2f}]"
        left.plot(points[:, 0], points[:, 1], label=title, linewidth=2.2 if method == "network" else 1.2)
    left.plot([0, 1], [0, 1], color="black", linewidth=0.5)
    left.set(xlabel="share of normal heads above", ylabel="share of abnormal heads above", title="ROC, simulated heads")
    left.legend(fontsize=6, loc="lower right")
    marks = np.array(figures["froc"])
    right.plot(marks[:, 0], marks[:, 1], marker="o")
    right.set(
        xlabel="marks in a normal head", ylabel="lesions with a mark", title="FROC of the map, simulated", ylim=(0, 1),
        xscale="log",
    )  # fmt: skip
    return saved(figure, to / f"{NAME}_roc.png")


def reliability(to: Path, found: Mapping[str, Any]) -> Path:
    """Probability said and share that was abnormal."""
    figure, axes = plt.subplots(figsize=(3.8, 3.4), layout="constrained")
    bins = np.array(found["bins"])
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.5)
    axes.plot(bins[:, 0], bins[:, 1], marker="o")
    axes.set(
        xlabel="probability said", ylabel="share abnormal, both kinds weighing the same",
        title=f"Calibration, simulated: ECE {found['ece']:.3f}",
    )  # fmt: skip
    return saved(figure, to / f"{NAME}_calibration.png")


def cases(to: Path, rows: Sequence[tuple[Task, Row]]) -> Path:
    """Of every kind the case with the highest and the one with the lowest score, where the lesion is largest."""
    abnormal = [(task, row) for task, row in rows if row.part is Part.ABNORMAL and row.analysed]
    kinds = list(dict.fromkeys(row.kind for _, row in abnormal))
    figure, grid = plt.subplots(2, len(kinds), figsize=(1.7 * len(kinds), 3.9), squeeze=False, layout="constrained")
    for column, kind in enumerate(kinds):
        own = sorted(((t, r) for t, r in abnormal if r.kind == kind), key=lambda pair: pair[1].scores["network"])
        for axes, (task, row) in zip(grid[:, column], (own[-1], own[0]), strict=True):
            case = made_case(task)
            z = int(np.argmax(case.truth.sum(axis=(1, 2))))
            up = case.voxels[z] if case.affine[1, 1] > 0 else case.voxels[z][::-1, ::-1]
            axes.imshow(up[::2, ::2], cmap="gray", vmin=0.0, vmax=80.0)
            axes.set_axis_off()
            axes.set_title(f"{kind}\n{row.volume_ml:.1f} mL, p {row.probability:.2f}", fontsize=4.5)
    return saved(figure, to / f"{NAME}_cases.png", dpi=100)
