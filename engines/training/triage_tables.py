"""What normal brains leave behind: the tables that go into the graph of the anomaly network.

    python -m engines.training.triage_tables RUN/best.pt STACKS --to RUN/filled.pt

Position by position the mean and SD of the residual, and the mean and shrunk precision of the encoder's features, over
normal brains of heads 01 to 04. Head 04 has not trained and counts as much as the three others together: a head that
was learned leaves less behind than a new one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.head_features import inner, median5
from engines.networks.anomaly_dae import CELL, COLUMNS, PLACES, ROWS, AnomalyDae
from engines.training.head_labels import blur
from engines.training.sources import Role
from engines.training.triage import near
from engines.training.triage_stacks import Stack, load_stacks

CELLS = (PLACES, ROWS // CELL, COLUMNS // CELL)
SMOOTH_CELLS = 0.8
FLOOR = 0.6  # of the median SD: no place is surer than that
SHRINK = 0.1  # of the covariance towards a multiple of one
Cells = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Sums of one stack: residual, its square and voxels by cell; features (32, channels) and whether there are any."""

    first: Cells
    second: Cells
    count: Cells
    features: NDArray[np.float32]
    there: NDArray[np.bool_]


def in_cells(volume: NDArray[np.float32]) -> Cells:
    """Sums over cells of 4 x 4 pixels."""
    return volume.reshape(PLACES, ROWS // CELL, CELL, COLUMNS // CELL, CELL).sum(axis=(2, 4), dtype=np.float64)


@torch.no_grad()
def run(network: AnomalyDae, stack: Stack) -> tuple[NDArray[np.float32], Tensor, NDArray[np.bool_]]:
    """Healthy (32, 224, 192), pooled features (32, channels), and which slices show a brain."""
    healthy = np.zeros(stack.hu.shape, dtype=np.float32)
    places = np.nonzero(stack.mask.any(axis=(1, 2)))[0]
    pooled, there = torch.zeros(PLACES, network.centre.shape[1]), np.zeros(PLACES, dtype=np.bool_)
    for place in places:
        hu, mask = (torch.from_numpy(part)[None] for part in near(stack, int(place)))
        change, features = network.change(hu, mask[:, 1:2], network.told(torch.tensor([int(place)])))
        healthy[place] = ((hu[:, 1:2] + change) * mask[:, 1:2])[0, 0].numpy()
        found, cells = network.pooled(features, mask[:, 1:2])
        pooled[place], there[place] = found[0], bool(cells[0, 0] >= 4.0)
    return healthy, pooled, there


def found_in(network: AnomalyDae, stack: Stack) -> Found:
    """The sums of one stack."""
    healthy, pooled, there = run(network, stack)
    chosen = inner(stack.mask)
    residual = median5((stack.hu.astype(np.float32) - healthy) * stack.mask, chosen)
    return Found(
        first=in_cells(residual),
        second=in_cells(residual**2),
        count=in_cells(chosen.astype(np.float32)),
        features=pooled.numpy(),
        there=there,
    )


def weights_of(groups: Sequence[str]) -> NDArray[np.float64]:
    """Of every stack: half for the heads that did not train, half for those that did."""
    chosen = np.array([group.endswith(("-4", "-04")) for group in groups])
    made = np.where(chosen, 0.5 / max(int(chosen.sum()), 1), 0.5 / max(int((~chosen).sum()), 1))
    return made * len(groups)


def residual_tables(found: Sequence[Found], weights: NDArray[np.float64]) -> tuple[Cells, Cells]:
    """Mean and SD of the residual by cell, both sides alike, smoothed; the SD with a floor, wide where no brain was."""
    sums = [
        sum(w * getattr(one, name) for w, one in zip(weights, found, strict=True))
        for name in ("first", "second", "count")
    ]
    # A little of everywhere, so that a place that few brains reach is not sure of itself.
    first, second, count = (smoothed(both + both[:, :, ::-1]) for both in map(np.asarray, sums))
    enough = float(np.percentile(count[count > 0.0], 50)) * 0.05
    everywhere = float(second.sum() / count.sum())
    mean = first / (count + enough)
    variance = (second + 2.0 * enough * everywhere) / (count + enough) - mean**2
    sd = np.sqrt(np.maximum(variance, 0.0))
    return mean, np.maximum(sd, FLOOR * float(np.median(sd[count > enough])))


def smoothed(cells: Cells) -> Cells:
    """Over cells and, by half a slice, over slices."""
    return blur(cells, SMOOTH_CELLS).astype(np.float64)


def feature_tables(
    found: Sequence[Found], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean by place (32, channels), from neighbouring places too, and what whitens the rest (channels, channels)."""
    features = np.stack([one.features for one in found]).astype(np.float64)
    share = np.stack([one.there for one in found]) * weights[:, None]
    at = np.arange(PLACES)
    near_by = np.exp(-0.5 * (at[:, None] - at[None]) ** 2) + 1e-6
    total, count = np.einsum("np,npc->pc", share, features), share.sum(axis=0)
    centre = (near_by @ total) / (near_by @ count)[:, None]
    off = (features - centre)[share > 0.0]
    by = share[share > 0.0]
    covariance = (off * by[:, None]).T @ off / by.sum()
    width = covariance.shape[0]
    covariance = (1.0 - SHRINK) * covariance + (SHRINK * np.trace(covariance) / width + 1e-9) * np.eye(width)
    values, vectors = np.linalg.eigh(covariance)
    white = vectors / np.sqrt(values)
    return centre.astype(np.float32), white.astype(np.float32)


def fill(network: AnomalyDae, stacks: Sequence[Stack]) -> None:
    """Compute all tables and put them into the network."""
    found = [found_in(network, stack) for stack in stacks]
    weights = weights_of([stack.group for stack in stacks])
    mean, sd = residual_tables(found, weights)
    centre, white = feature_tables(found, weights)
    for buffer, made in ((network.mean, mean), (network.sd, sd), (network.centre, centre), (network.white, white)):
        buffer.copy_(torch.from_numpy(np.ascontiguousarray(made, dtype=np.float32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("stacks", type=Path, help="what engines.training.triage_stacks wrote")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--most", type=int, default=60, help="stacks of heads 01 to 03, and as many of head 04 at most")
    arguments = parser.parse_args()
    network = AnomalyDae()
    network.load_state_dict(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["ema"])
    stacks = [
        one for role in (Role.TRAIN, Role.CHOOSE) for one in load_stacks(arguments.stacks, role)[: arguments.most]
    ]
    fill(network.eval(), stacks)
    torch.save({"ema": network.state_dict()}, arguments.to)
    print(f"{len(stacks)} normal stacks; median SD {float(network.sd.median()):.2f} HU")


if __name__ == "__main__":
    main()
