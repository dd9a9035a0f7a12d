"""What normal brains leave behind: the tables that go into the graph of the anomaly network.

    python -m engines.training.triage_tables RUN/best.pt STACKS --to RUN/tables

Position by position the mean and SD of the residual, and the mean and shrunk precision of the encoder's features, over
normal brains of heads 01 to 04. The SD, twice over, is that of a head around the mean of the others, as a new head
meets it; head 04 has not trained and counts as much as the three others together, for a head that was learned leaves
less behind.
Writes filled.pt for the export, and what engines.training.triage_score fits on: every stack as the network sees it,
and the tables of each three heads, for judging the fourth.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.head import HeadStack
from engines.head_features import inner, median5
from engines.networks.anomaly_dae import CELL, COLUMNS, PLACES, ROWS, AnomalyDae
from engines.training.evaluation import spread
from engines.training.head_labels import blur
from engines.training.headct import Kind
from engines.training.shelf import put
from engines.training.triage import near
from engines.training.triage_stacks import judged_paths, load_judged, number_of

CELLS = (PLACES, ROWS // CELL, COLUMNS // CELL)
SMOOTH_CELLS = 0.8
FLOOR = 0.7  # of the median SD: no place is surer than that
WIDEN = 2.0  # residuals have long tails and four heads are few: so wide, nine normals of ten show less than 1 mL over 4
SHRINK = 0.15  # of the covariance towards a multiple of one
NEW_HEAD = "head-4"
Cells = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Left:
    """What one normal stack leaves behind.

    group:    its head
    sums:     (3, 32, 56, 48): residual, its square, voxels
    features: (32, channels) pooled; there: (32,) whether the slice shows enough brain
    """

    group: str
    sums: Cells
    features: NDArray[np.float32]
    there: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """mean and sd (32, 56, 48) HU, centre (32, channels), white (channels, channels)."""

    mean: Cells
    sd: Cells
    centre: Cells
    white: Cells


def in_cells(volume: NDArray[np.float32]) -> Cells:
    """Sums over cells of 4 x 4 pixels, both sides alike."""
    made = volume.reshape(PLACES, ROWS // CELL, CELL, COLUMNS // CELL, CELL).sum(axis=(2, 4), dtype=np.float64)
    return made + made[:, :, ::-1]


@torch.no_grad()
def run(network: AnomalyDae, stack: HeadStack) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Healthy (32, 224, 192), pooled features (32, channels), and which slices show enough brain (32,)."""
    healthy = np.zeros(stack.hu.shape, dtype=np.float32)
    pooled = np.zeros((PLACES, network.centre.shape[1]), dtype=np.float32)
    there = np.zeros(PLACES, dtype=np.bool_)
    for place in np.nonzero(stack.mask.any(axis=(1, 2)))[0]:
        hu, mask = (torch.from_numpy(part)[None] for part in near(stack, int(place)))
        change, features = network.change(hu, mask[:, 1:2], network.told(torch.tensor([int(place)])))
        healthy[place] = ((hu[:, 1:2] + change) * mask[:, 1:2])[0, 0].numpy()
        found, cells = network.pooled(features, mask[:, 1:2])
        pooled[place], there[place] = found[0].numpy(), bool(cells[0, 0] >= 4.0)
    return healthy, pooled, there


def left_by(
    group: str,
    stack: HeadStack,
    healthy: NDArray[np.float32],
    features: NDArray[np.float32],
    there: NDArray[np.bool_],
) -> Left:
    """The sums of one stack."""
    chosen = inner(stack.mask)
    residual = median5((stack.hu - healthy) * stack.mask, chosen)
    sums = np.stack([in_cells(part) for part in (residual, residual**2, chosen.astype(np.float32))])
    return Left(group=group, sums=sums, features=features, there=there)


def weights_of(groups: Sequence[str]) -> dict[str, float]:
    """Of one stack of each head: half of all weight for the head that did not train, the rest for the others alike."""
    names = sorted(set(groups))
    share = {name: 0.5 if name == NEW_HEAD and len(names) > 1 else 0.5 / max(len(names) - 1, 1) for name in names}
    return {name: share[name] / groups.count(name) for name in names}


def tables(left: Sequence[Left], *, without: str = "") -> Tables:
    """All tables. without: a head whose own brains do not enter the means; the SDs are always of all heads."""
    weight = weights_of([one.group for one in left])
    heads = sorted(weight)
    sums = {head: sum_of(weight[head] * one.sums for one in left if one.group == head) for head in heads}
    means = {head: mean_of([sums[other] for other in heads if other != head] or [sums[head]]) for head in heads}
    total = np.asarray(sum(sums.values()))
    wrong = np.zeros(CELLS)
    for head, mean in means.items():
        first, second, count = sums[head]
        wrong += smoothed(second) - 2.0 * mean * smoothed(first) + mean**2 * smoothed(count)
    count = smoothed(total[2])
    # A little of everywhere, so that a place that few brains reach is not sure of itself.
    enough = 0.1 * float(np.median(count[count > 1e-9]))
    sd = np.sqrt(np.maximum(wrong + 2.0 * enough * wrong.sum() / count.sum(), 0.0) / (count + enough))
    centre, white = feature_tables(left, weight, without)
    return Tables(
        mean=means[without] if without else mean_of(list(sums.values())),
        sd=WIDEN * np.maximum(sd, FLOOR * float(np.median(sd[count > enough]))),
        centre=centre,
        white=white,
    )


def sum_of(parts: Iterable[Cells]) -> Cells:
    """All of them together."""
    return np.sum(list(parts), axis=0)


def mean_of(sums: Sequence[Cells]) -> Cells:
    """Smoothed mean of the residual; towards 0 where few brains reach."""
    first, _, count = np.sum(np.stack(sums), axis=0)
    wide = smoothed(count)
    return smoothed(first) / (wide + 0.1 * float(np.median(wide[wide > 1e-9])))


def smoothed(cells: Cells) -> Cells:
    """Over neighbouring cells and slices."""
    return blur(cells, SMOOTH_CELLS).astype(np.float64)


def feature_tables(left: Sequence[Left], weight: Mapping[str, float], without: str) -> tuple[Cells, Cells]:
    """Mean by place (32, channels), from neighbouring places too, and what whitens the rest (channels, channels)."""

    def centre_of(kept: Sequence[Left]) -> Cells:
        share = np.stack([weight[one.group] * one.there for one in kept])
        near_by = np.exp(-0.5 * (np.arange(PLACES)[:, None] - np.arange(PLACES)[None]) ** 2) + 1e-6
        total = np.einsum("np,npc->pc", share, np.stack([one.features for one in kept]).astype(np.float64))
        made: Cells = (near_by @ total) / (near_by @ share.sum(axis=0))[:, None]
        return made

    others = {head: centre_of([one for one in left if one.group != head] or list(left)) for head in sorted(weight)}
    off = np.concatenate([(one.features - others[one.group])[one.there] for one in left])
    share = np.concatenate([np.full(int(one.there.sum()), weight[one.group]) for one in left])
    covariance = (off * share[:, None]).T @ off / share.sum()
    width = covariance.shape[0]
    covariance = (1.0 - SHRINK) * covariance + (SHRINK * np.trace(covariance) / width + 1e-9) * np.eye(width)
    values, vectors = np.linalg.eigh(covariance)
    return others[without] if without else centre_of(left), vectors / np.sqrt(values)


def fill(network: AnomalyDae, made: Tables) -> None:
    """Put the tables into the network."""
    for name in ("mean", "sd", "centre", "white"):
        table = np.ascontiguousarray(getattr(made, name), dtype=np.float32)
        getattr(network, name).copy_(torch.from_numpy(table))


_network: list[AnomalyDae] = []  # of this process


def start(checkpoint: Path) -> None:
    """Load the network, once in each process."""
    torch.set_num_threads(1)
    network = AnomalyDae()
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"])
    _network[:] = [network.eval()]


def look(task: tuple[Path, Path]) -> Left | None:
    """Write what the network sees in a stack; what a normal one leaves behind. What is there is read, not run again."""
    path, seen = task
    judged = load_judged(path)
    if not seen.exists():
        healthy, pooled, there = run(_network[0], judged.stack)
        put(seen, healthy=healthy.astype(np.float16), pooled=pooled, there=there)
    if judged.kind is not Kind.NORMAL:
        return None
    with np.load(seen) as arrays:
        healthy = arrays["healthy"].astype(np.float32)
        return left_by(judged.group, judged.stack, healthy, arrays["pooled"], arrays["there"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("stacks", type=Path, help="what engines.training.triage_stacks wrote")
    parser.add_argument("--to", type=Path, required=True, help="a new folder for filled.pt and what the score needs")
    parser.add_argument("--most", type=int, default=9999, help="cases of each head")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    seen = arguments.to / "seen"
    seen.mkdir(parents=True, exist_ok=True)
    used = [path for path in judged_paths(arguments.stacks) if number_of(path.stem) < arguments.most]
    tasks = [(path, seen / path.name) for path in used]
    made_of = list(spread(look, tasks, jobs=arguments.jobs, start=start, given=(arguments.checkpoint,)))
    left = [one for one in made_of if one is not None]
    for head in sorted({one.group for one in left}):
        put(arguments.to / f"without-{head}.npz", **vars(tables(left, without=head)))
    made = tables(left)
    start(arguments.checkpoint)
    fill(_network[0], made)
    torch.save({"ema": _network[0].state_dict()}, arguments.to / "filled.pt")
    print(f"{len(left)} normal of {len(used)} stacks; median SD {float(np.median(made.sd)):.2f} HU")


if __name__ == "__main__":
    main()
