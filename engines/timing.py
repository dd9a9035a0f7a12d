"""How long an engine takes for one batch of its usual shape."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from engines.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds per slice: the best run, the middle one, the worst. slices: in one batch; runs: after warming up."""

    shape: dict[str, list[int]]
    slices: int
    runs: int
    best_ms: float
    median_ms: float
    worst_ms: float


def time_engine(engine: Engine, *, runs: int = 20) -> Timing:
    """Run batches of the usual shape, two of them before the clock counts. Raises EngineFailed."""
    spec = engine.spec
    generator = np.random.default_rng(0)
    feeds = {t.name: generator.normal(0.0, 100.0, spec.shape_at(t)).astype(t.dtype) for t in spec.inputs}
    slices = feeds[spec.inputs[0].name].shape[0]
    for _ in range(2):
        engine.infer(feeds)
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        engine.infer(feeds)
        took.append((time.perf_counter() - began) * 1000.0 / slices)
    return Timing(
        shape={name: list(feed.shape) for name, feed in feeds.items()},
        slices=slices,
        runs=runs,
        best_ms=round(min(took), 3),
        median_ms=round(statistics.median(took), 3),
        worst_ms=round(max(took), 3),
    )
