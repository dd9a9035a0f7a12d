"""The training loop of every network: warm-up, cosine decay, averaged weights, a checkpoint a minute, resume."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

RATE = 6e-4


class Task(Protocol):
    """One network to train."""

    def network(self) -> nn.Module:
        """A new one."""
        ...

    def loss(self, network: nn.Module) -> Tensor:
        """Draw a batch and say how wrong the network is on it."""
        ...

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """Figures on the slices kept for choosing; `total`, lower is better, chooses the checkpoint."""
        ...

    def refresh(self, step: int) -> None:
        """At the start and after every checkpoint: see what the cache holds, and draw what belongs to the step."""
        ...


@torch.no_grad()
def widen(network: nn.Module, narrow: Mapping[str, Tensor]) -> None:
    """Start from a narrower network: the wide one computes the same, its new channels wait to be used (Chen 2016)."""
    for name, weight in network.named_parameters():
        old = narrow[name]
        if weight.dim() == 1:
            weight[: len(old)] = old
        else:
            weight[: old.shape[0], old.shape[1] :] = 0.0
            weight[: old.shape[0], : old.shape[1]] = old


def train(task: Task, run: Path, minutes: float, *, start: Path | None = None, rate: float = RATE) -> None:
    """Train for so many minutes in all; a run that was stopped goes on from its last checkpoint.

    run:   folder of last.pt (to go on), best.pt (to export) and log.jsonl
    start: checkpoint of a network, as wide or narrower, to begin with
    rate:  the highest of the run
    """
    run.mkdir(parents=True, exist_ok=True)
    network, average = task.network(), task.network()
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
    task.refresh(step)
    started, saved, losses = time.monotonic() - spent, time.monotonic(), []
    while spent < minutes * 60:
        part = spent / (minutes * 60)
        now = rate * min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        for group in optimiser.param_groups:
            group["lr"] = now
        loss = task.loss(network)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
                mine.lerp_(theirs, 1.0 - keep)
        losses.append(loss.item())
        spent = time.monotonic() - started
        if time.monotonic() - saved > 60 or spent >= minutes * 60:
            average.eval()
            with torch.no_grad():
                found = task.score(average)
            line = {"step": step, "minutes": round(spent / 60, 1), "rate": now, "loss": float(np.mean(losses))}
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({**line, **found}) + "\n")
            weights = {"raw": network.state_dict(), "ema": average.state_dict(), "step": step}
            better = found["total"] < best
            best = min(best, found["total"])
            _save({**weights, "optimiser": optimiser.state_dict(), "spent": spent, "best": best}, last)
            if better:
                _save(weights, run / "best.pt")
            task.refresh(step)
            saved, losses = time.monotonic(), []


def _save(state: dict[str, object], path: Path) -> None:
    aside = path.with_suffix(".tmp")
    torch.save(state, aside)
    aside.replace(path)
