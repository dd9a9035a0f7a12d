"""Fit and calibrate the score of the triage, and write it down.

    python -m engines.training.triage_score RUN/tables STACKS

after engines.training.triage_tables and the export: writes pipelines/head_ct_triage_limits.py, and the block of the
score in engines/cards/head_ct_triage.md. Only simulated examinations of heads 01 to 04, every head judged with the
tables of the three others: the logistic on half of them, calibration, threshold and percentiles on the other half. All
four heads count alike: head 04 alone is the most regular of them, and a threshold from it would flag most normals of
the others.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from engines.head import NAMES, features, z_map
from engines.head_features import NORMAL, SEEN_HU, Normal
from engines.head_score import Score, transformed
from engines.networks.anomaly_dae import CELL
from engines.store import load_spec
from engines.training.evaluation import spread
from engines.training.headct import Kind
from engines.training.triage_export import NAME
from engines.training.triage_fit import area, isotonic, logistic, percentiles
from engines.training.triage_stacks import judged_paths, load_judged, number_of
from engines.training.triage_tables import NEW_HEAD, Cells

ROOT = Path(__file__).parents[2]
LIMITS = ROOT / "pipelines" / "head_ct_triage_limits.py"
CARD = ROOT / "engines" / "cards" / f"{NAME}.md"
BEGIN, END = "<!-- score: python -m engines.training.triage_score -->", "<!-- end of score -->"
SPECIFICITY = 0.9
FREE = frozenset({"csf_volume_z"})  # too much and too little CSF may both be wrong; nothing else lowers the score


@dataclass(frozen=True, kw_only=True)
class Row:
    """One examination: its figures, and whether the strongest place lies in the lesion (within 5 px)."""

    name: str
    group: str
    kind: Kind
    volume_ml: float
    features: dict[str, float]
    hit: bool

    @property
    def abnormal(self) -> bool:
        """Whether there is something to find."""
        return self.kind is not Kind.NORMAL

    @property
    def fits(self) -> bool:
        """Whether the logistic sees it; else it calibrates."""
        # Ten at a time: the kinds of lesions go round in tens.
        return number_of(self.name) // 10 % 2 == 0


def enlarged(cells: Cells) -> NDArray[np.float32]:
    """A table at full resolution, as the graph makes it: (32, 224, 192)."""
    table = torch.from_numpy(np.ascontiguousarray(cells, dtype=np.float32))[:, None]
    made: NDArray[np.float32] = F.interpolate(table, scale_factor=float(CELL), mode="bilinear")[:, 0].numpy()
    return made


@lru_cache(maxsize=4)
def tables_without(folder: Path, group: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Mean and SD at full resolution, centre and whitening, of the other three heads."""
    with np.load(folder / f"without-{group}.npz") as arrays:
        return enlarged(arrays["mean"]), enlarged(arrays["sd"]), arrays["centre"], arrays["white"]


def measured(task: tuple[Path, Path]) -> Row:
    """A stack that the network has seen (its path, the folder of tables), judged with the tables of other heads."""
    torch.set_num_threads(1)
    path, folder = task
    one = load_judged(path)
    mean, sd, centre, white = tables_without(folder, one.group)
    with np.load(folder / "seen" / path.name) as arrays:
        change, pooled = arrays["healthy"].astype(np.float32) - one.stack.hu, arrays["pooled"]
    healthy = np.clip(one.stack.hu, *SEEN_HU) + change  # as the node has it, which feeds no more than that
    shown = one.stack.mask.any(axis=(1, 2))
    distance = np.sqrt(np.mean(((pooled - centre) @ white) ** 2, axis=1)) * shown
    z = z_map(one.stack, healthy, mean, sd)
    # The plain constants: figures of CSF are brought to this run's normals afterwards.
    found = features(one.stack, healthy, z, distance.astype(np.float32), NORMAL)
    return Row(
        name=path.stem,
        group=one.group,
        kind=one.kind,
        volume_ml=one.volume_ml,
        features={name: float(found[name]) for name in NAMES},
        hit=bool(one.truth.any()) and _hits(z, one.truth),
    )


def _hits(z: NDArray[np.float32], truth: NDArray[np.bool_]) -> bool:
    """Whether the strongest z lies within 5 pixels of the lesion, in its slice or a neighbour."""
    place, y, x = np.unravel_index(int(np.argmax(np.abs(z))), z.shape)
    near = truth[max(place - 1, 0) : place + 2, max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6]
    return bool(near.any())


def with_csf(rows: Sequence[Row]) -> tuple[list[Row], Normal]:
    """The figures of CSF in SDs of the normals of all heads, and what those are."""
    shares = np.array(
        [row.features["csf_volume_z"] * NORMAL.csf_sd + NORMAL.csf_mean for row in rows if not row.abnormal]
    )
    normal = Normal(csf_mean=round(float(shares.mean()), 4), csf_sd=round(float(max(shares.std(), 0.005)), 4))
    made = []
    for row in rows:
        share = row.features["csf_volume_z"] * NORMAL.csf_sd + NORMAL.csf_mean
        changed = {**row.features, "csf_volume_z": (share - normal.csf_mean) / normal.csf_sd}
        made.append(Row(**{**{key: getattr(row, key) for key in Row.__dataclass_fields__}, "features": changed}))
    return made, normal


def fitted(rows: Sequence[Row], normal: Normal, engine_sha256: str) -> Score:
    """The whole score."""
    values = np.array([[transformed(name, row.features[name]) for name in NAMES] for row in rows])
    abnormal = np.array([row.abnormal for row in rows])
    fit = np.array([row.fits for row in rows])
    weight = np.zeros(len(rows))
    for part in (fit, ~fit):
        weight[part] = shares([row.group for row, of in zip(rows, part, strict=True) if of], abnormal[part])
    intercept, coefficients = logistic(values[fit], abnormal[fit], weight[fit], [name in FREE for name in NAMES])
    intercept, coefficients = round(intercept, 4), np.round(coefficients, 4)
    logits = intercept + values @ coefficients
    knots = [(round(at, 4), round(made, 4)) for at, made in isotonic(logits[~fit], abnormal[~fit], weight[~fit])]
    held = ~fit & ~abnormal
    normals = percentiles(logits[held], weight[held])
    at = float(np.interp(SPECIFICITY, np.linspace(0.0, 1.0, len(normals)), normals))
    threshold = float(np.interp(at, [knot[0] for knot in knots], [knot[1] for knot in knots]))
    return Score(
        engine_sha256=engine_sha256,
        intercept=intercept,
        coefficients=dict(zip(NAMES, coefficients.tolist(), strict=True)),
        knots=tuple(knots),
        threshold=round(threshold, 4),
        normals=tuple(round(v, 4) for v in normals),
        csf_mean=normal.csf_mean,
        csf_sd=normal.csf_sd,
    )


def shares(groups: Sequence[str], abnormal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights that sum to 1: half for normals, half for the others, every head that has some alike in each half.

    So what is calibrated is for as many normal as abnormal heads.
    """
    made = np.zeros(len(groups))
    names = np.array(groups)
    for half in (abnormal, ~abnormal):
        heads = sorted(set(names[half]))
        for head in heads:
            of = half & (names == head)
            made[of] = 0.5 / len(heads) / int(of.sum())
    return made


def judged(rows: Sequence[Row], score: Score) -> dict[str, Any]:
    """Figures of what made the score: a first look, not what the card may claim."""
    made: dict[str, Any] = {}
    for part, chosen in (
        ("what was fitted", [row for row in rows if row.fits]),
        ("what calibrated", [row for row in rows if not row.fits]),
        ("head 04", [row for row in rows if row.group == NEW_HEAD]),
        ("heads 01 to 03", [row for row in rows if row.group != NEW_HEAD]),
    ):
        logits = np.array([score.logit(row.features) for row in chosen])
        raised = np.array([score.probability(logit) >= score.threshold for logit in logits])
        abnormal = np.array([row.abnormal for row in chosen])
        kinds = {}
        for kind in sorted({row.kind for row in chosen if row.abnormal}):
            of = np.array([row.kind is kind for row in chosen])
            kinds[str(kind)] = {
                "n": int(of.sum()),
                "auc": round(area(logits[~abnormal], logits[of]), 3),
                "sensitivity": round(float(raised[of].mean()), 3),
                "hit": round(float(np.mean([row.hit for row in chosen if row.kind is kind])), 3),
            }
        single = {
            name: round(
                area(*(np.array([row.features[name] for row in chosen])[of] for of in (~abnormal, abnormal))), 3
            )
            for name in NAMES
        }
        made[part] = {
            "normal": int((~abnormal).sum()),
            "abnormal": int(abnormal.sum()),
            "auc": round(area(logits[~abnormal], logits[abnormal]), 3),
            "specificity": round(float(1.0 - raised[~abnormal].mean()), 3),
            "sensitivity": round(float(raised[abnormal].mean()), 3),
            "hit": round(float(np.mean([row.hit for row in chosen if row.abnormal])), 3),
            "kinds": kinds,
            "auc of one feature": single,
        }
    return made


def module(score: Score) -> str:
    """The text of pipelines/head_ct_triage_limits.py."""

    def rows(values: Sequence[str]) -> str:
        return "".join(f"        {value},\n" for value in values)

    coefficients = rows([f'"{name}": {value}' for name, value in score.coefficients.items()])
    return (
        '"""The score of head-ct-triage. Written by `python -m engines.training.triage_score`, not by hand."""\n\n'
        "from engines.head_score import Score\n\n"
        "LIMITS = Score(\n"
        f'    engine_sha256="{score.engine_sha256}",\n'
        f"    intercept={score.intercept},\n"
        "    coefficients={\n"
        f"{coefficients}"
        "    },\n"
        f"    knots=(\n{rows([str(knot) for knot in score.knots])}    ),\n"
        f"    threshold={score.threshold},\n"
        f"    normals=(\n{rows([str(value) for value in score.normals])}    ),\n"
        f"    csf_mean={score.csf_mean},\n"
        f"    csf_sd={score.csf_sd},\n"
        ")\n"
    )


def block(score: Score, found: dict[str, Any]) -> str:
    """What the card says of the score."""
    lines = [
        f"Of the network `{score.engine_sha256[:20]}…`. Logistic: intercept {score.intercept:g}, and",
        "",
        "| figure | coefficient |",
        "|---|---:|",
        *(f"| {name} | {value:g} |" for name, value in score.coefficients.items()),
        "",
        "Volumes go in as log(1 + mL).",
        "",
        f"Flag from {score.threshold:g} on. Calibration, straight between, level beyond:",
        "",
        "| logit | probability |",
        "|---:|---:|",
        *(f"| {at:.2f} | {probability:.3f} |" for at, probability in score.knots),
        "",
        "On what made the score (simulated, heads 01 to 04; **not** a measure of what a new head gives):",
        "",
        "| part | normal | abnormal | AUC | specificity | sensitivity | strongest place in the lesion |",
        "|---" * 7 + "|",
    ]
    for part, row in found.items():
        cells = [f"{row[key]:g}" for key in ("normal", "abnormal", "auc", "specificity", "sensitivity", "hit")]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, help="what engines.training.triage_tables wrote")
    parser.add_argument("stacks", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="print, write nothing into the repository")
    arguments = parser.parse_args()
    seen = arguments.tables / "seen"
    tasks = [(path, arguments.tables) for path in judged_paths(arguments.stacks) if (seen / path.name).exists()]
    rows, normal = with_csf(list(spread(measured, tasks, jobs=arguments.jobs)))
    score = fitted(rows, normal, "0" * 64 if arguments.dry else load_spec(NAME).sha256)
    found = judged(rows, score)
    print(json.dumps({"score": asdict(score), "figures": found}, indent=1, default=dict))
    kept = [{**asdict(row), "kind": str(row.kind)} for row in rows]
    (arguments.tables / "rows.json").write_text(json.dumps(kept), encoding="utf-8")
    if arguments.dry:
        return
    LIMITS.write_text(module(score), encoding="utf-8")
    text = CARD.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    CARD.write_text(f"{before}{BEGIN}\n{block(score, found)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
