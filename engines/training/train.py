"""Train the CT denoise network.

    python -m engines.training.cache CACHE && python -m engines.training.train CACHE --to RUN --minutes 40

A run may be stopped at any moment and started again with the same arguments: it goes on from the last checkpoint,
which is written once a minute. `best.pt` is the checkpoint with the best score on the slices kept for choosing:
RMSE, as long as the probe lesions keep their contrast (longer training for RMSE trades small lesions away).
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engines.networks.pu_unet import PuUnet, Shape
from engines.training.cache import Item, load
from engines.training.detail import disk, ellipses, probe_field, texture
from engines.training.sources import Role

SIDE = 96
BATCH = 8
PROBES = 3  # patches of a batch that carry a probe lesion
RATE = 6e-4
PROBE_WEIGHT = 0.3  # 0.1 lost more of a 3 px disk than total variation does
WIDTHS = (32, 64, 96)  # 13.6 GFLOP per 512x512 slice


def mixed_noise(rng: np.random.Generator, noise: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A new realisation with a new kernel from those stored; (kernel pairs of) patches -> (y, x), SD about 1.

    noise: (realisation, kernel, y, x)
    """
    turn = rng.uniform(0, 2 * np.pi)
    pair = np.cos(turn) * noise[0] + np.sin(turn) * noise[1]
    share = rng.uniform(0.0, 1.0) ** 1.5  # soft kernels are the commoner
    mixed: NDArray[np.float32] = (1.0 - share) * pair[0] + share * pair[1]
    white = rng.standard_normal(mixed.shape).astype(np.float32) * np.float32(rng.uniform(0.0, 0.1))
    # Keep the physical level for soft kernels, half way to SD 1 for sharp ones: those are read at a lower dose.
    level = float(np.std(pair[0])) / max(float(np.std(mixed)), 1e-6)
    return mixed * np.float32(level**0.5) + white


def patch(rng: np.random.Generator, item: Item) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Clean and noise, (SIDE, SIDE) HU, and the noise SD in HU."""
    for _ in range(8):
        y, x = (int(v) for v in rng.integers(0, item.clean.shape[0] - SIDE + 1, 2))
        cut = (slice(y, y + SIDE), slice(x, x + SIDE))
        clean = item.clean[cut].astype(np.float32)
        if np.mean(clean > -900.0) > 0.3 or rng.random() < 0.03:
            break
    noise = mixed_noise(rng, item.noise[(..., *cut)].astype(np.float32), clean > -500.0)
    if rng.random() < 0.7:
        clean = clean + ellipses(rng, SIDE, int(rng.integers(1, 8)))
    if rng.random() < 0.5:
        clean = clean + texture(rng, SIDE, float(rng.uniform(0.0, 6.0)))
    # Half of all patches at the noise of quarter-dose body CT, the rest over everything the network may meet.
    lowest, highest = (15.0, 45.0) if rng.random() < 0.5 else (3.0, 80.0)
    dose_sd = lowest * (highest / lowest) ** rng.random()
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    both = [np.rot90(part[:, ::-1] if flip else part, turns) for part in (clean, noise * np.float32(dose_sd))]
    return np.clip(both[0], -1024.0, 3071.0).astype(np.float32), both[1].astype(np.float32), dose_sd


class Patches:
    """An endless supply of batches; every group of slices is drawn as often as the square root of its size."""

    def __init__(self, items: list[Item], seed: int) -> None:
        self.items = items
        self.rng = np.random.default_rng(seed)
        groups = [item.group for item in items]
        weight = np.array([1.0 / math.sqrt(groups.count(group)) for group in groups])
        self.weight = weight / weight.sum()

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy, clean (n, 1, y, x) HU, and noise SD (n, 1, 1, 1)."""
        chosen = self.rng.choice(len(self.items), BATCH, p=self.weight)
        made = [patch(self.rng, self.items[index]) for index in chosen]
        clean = torch.from_numpy(np.stack([one[0] for one in made])[:, None])
        noise = torch.from_numpy(np.stack([one[1] for one in made])[:, None])
        level = torch.tensor([one[2] for one in made], dtype=torch.float32).reshape(-1, 1, 1, 1)
        return (clean + noise).clamp(-1024.0, 3071.0), clean, level

    def probes(self, level: Tensor) -> Tensor:
        """One disk per patch, radius 2 to 7 px, contrast half to twice the noise; (PROBES, 1, y, x) HU."""
        made = []
        for index in range(PROBES):
            contrast = float(np.clip(level[index].item() * self.rng.uniform(0.5, 2.0), 8.0, 60.0))
            y, x = self.rng.uniform(16, SIDE - 16, 2)
            sign = float(self.rng.choice((-1.0, 1.0)))
            made.append(disk(SIDE, float(y), float(x), float(2.0 * 3.5 ** self.rng.random()), sign * contrast))
        return torch.from_numpy(np.stack(made)[:, None])


def loss_of(network: PuUnet, noisy: Tensor, clean: Tensor, level: Tensor, probe: Tensor) -> Tensor:
    """L1-like error + regional HU + gradients + contrast of probe lesions; all relative to the noise."""
    scale = 1.0 / (0.7 * level + 4.0)
    with_probe = noisy[:PROBES] + probe
    out = network(torch.cat([noisy, with_probe]))
    made, probed = out[: len(noisy)], out[len(noisy) :]
    error = (made - clean) * scale
    # Quadratic for small errors: the mean is wanted in flat regions, not the median; linear for the edges.
    main = (torch.sqrt(error**2 + 0.25) - 0.5).mean() + 0.5 * (error**2).clamp(max=25.0).mean()
    regional = (F.avg_pool2d(made - clean, 8) * scale).abs().mean()
    across = ((made - clean).diff(dim=3).abs().mean(dim=(1, 2, 3)) * scale.flatten()).mean()
    down = ((made - clean).diff(dim=2).abs().mean(dim=(1, 2, 3)) * scale.flatten()).mean()
    place = probe.abs() > 0.25 * probe.abs().amax(dim=(1, 2, 3), keepdim=True)
    missing = (probed - made[:PROBES] - probe).abs() / probe.abs().amax(dim=(1, 2, 3), keepdim=True)
    kept = (missing * place).sum() / place.sum()
    return main + 0.1 * regional + 0.05 * (across + down) + PROBE_WEIGHT * kept


@torch.no_grad()
def score(network: PuUnet, items: list[Item]) -> dict[str, float]:
    """RMSE over input RMSE, and probe recovery, on the slices kept for choosing."""
    network.eval()
    rng = np.random.default_rng(1)
    ratios: list[float] = []
    kept3: list[float] = []
    kept6: list[float] = []
    for item in items:
        clean = torch.from_numpy(item.clean.astype(np.float32))[None, None]
        side = clean.shape[-1]
        for sd, kernel in ((10.0, 0), (25.0, 0), (25.0, 1)):
            unit = item.noise[0, kernel].astype(np.float32)
            noise = torch.from_numpy(unit * np.float32(sd / unit[item.clean > -500].std()))
            noisy = (clean + noise).clamp(-1024.0, 3071.0)
            made = network(noisy)
            body = clean > -500.0
            ratios.append(float(((made - clean)[body] ** 2).mean().sqrt() / ((noisy - clean)[body] ** 2).mean().sqrt()))
            for radius, kept in ((3.0, kept3), (6.0, kept6)):
                delta = probe_field(rng, item.clean.astype(np.float32), side, radius, 30.0)
                mask = torch.from_numpy(np.abs(delta) > 15.0)[None, None]
                change = network(noisy + torch.from_numpy(delta)[None, None]) - made
                field = torch.from_numpy(delta)[None, None]
                kept.append(float((change * field.sign())[mask].mean() / field.abs()[mask].mean()))
    network.train()
    return {"ratio": float(np.mean(ratios)), "kept_r3": float(np.mean(kept3)), "kept_r6": float(np.mean(kept6))}


def total_score(found: dict[str, float]) -> float:
    """Lower is better: RMSE ratio plus what the probes miss of 0.80 (r 3 px) and 0.92 (r 6 px)."""
    return found["ratio"] + max(0.80 - found["kept_r3"], 0.0) + max(0.92 - found["kept_r6"], 0.0)


@torch.no_grad()
def widen(network: PuUnet, narrow: dict[str, Tensor]) -> None:
    """Start from a narrower network: the wide one computes the same, its new channels wait to be used (Chen 2016)."""
    for name, weight in network.named_parameters():
        old = narrow[name]
        if weight.dim() == 1:
            weight[: len(old)] = old
        else:
            weight[: old.shape[0], old.shape[1] :] = 0.0
            weight[: old.shape[0], : old.shape[1]] = old


def train(cache: Path, run: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """The loop; see the module's docstring."""
    run.mkdir(parents=True, exist_ok=True)
    network, average = PuUnet(Shape(widths=WIDTHS)), PuUnet(Shape(widths=WIDTHS))
    if start is not None:
        widen(network, torch.load(start, map_location="cpu", weights_only=True)["ema"])
    average.load_state_dict(network.state_dict())
    # The order in memory that the CPU's convolutions like best: a fifth less time for a step.
    network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), RATE, betas=(0.9, 0.99))
    step, spent, best = 0, 0.0, math.inf
    last = run / "last.pt"
    if last.exists():
        state = torch.load(last, map_location="cpu", weights_only=True)
        network.load_state_dict(state["raw"])
        average.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, best = state["step"], state["spent"], state["best"]
    average.requires_grad_(False)
    patches = Patches(load(cache, Role.TRAIN), seed + step)
    ready = len(patches.items)
    started, saved, losses = time.monotonic() - spent, time.monotonic(), []
    while spent < minutes * 60:
        part = spent / (minutes * 60)
        rate = RATE * min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        noisy, clean, level = patches.batch()
        loss = loss_of(network, noisy, clean, level, patches.probes(level))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
                mine.lerp_(theirs, 1.0 - keep)
        losses.append(loss.item())
        spent = time.monotonic() - started
        if time.monotonic() - saved > 60 or spent >= minutes * 60:
            found = score(average, load(cache, Role.CHOOSE))
            line = {
                "step": step,
                "minutes": round(spent / 60, 1),
                "rate": rate,
                "loss": float(np.mean(losses)),
                **found,
            }
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            state = {"raw": network.state_dict(), "ema": average.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"step": step, "spent": spent, "best": min(best, total_score(found))}
            _save(state, last)
            if total_score(found) < best:
                best = total_score(found)
                _save({"raw": network.state_dict(), "ema": average.state_dict(), "step": step}, run / "best.pt")
            if len(list(cache.glob("train_*.npz"))) > ready + 5:  # the cache grew
                patches = Patches(load(cache, Role.TRAIN), seed + step)
                ready = len(patches.items)
            saved, losses = time.monotonic(), []


def _save(state: dict[str, object], path: Path) -> None:
    aside = path.with_suffix(".tmp")
    torch.save(state, aside)
    aside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="what engines.training.cache wrote")
    parser.add_argument("--to", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="checkpoint of a network, as wide or narrower, to begin with")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    train(arguments.cache, arguments.to, arguments.minutes, arguments.seed, arguments.start)


if __name__ == "__main__":
    main()
