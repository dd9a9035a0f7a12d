"""A made-up day of a hospital in Prometheus: what dashboards look like with a day behind them, without waiting for it.

Figures are invented: some 35 series an hour at noon, a destination that has been down for half an hour, jobs that
checks hold, one that failed.
"""

import math
import random
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.peers import which_or_skip

HOURS: Final = 26
BOUNDS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 1800, 3600)
# Pipeline -> modality, series an hour at noon, usual seconds from arrival to delivery.
PIPELINES: Final = {
    "ct-denoise": ("CT", 18.0, 45.0),
    "ct-kernel": ("CT", 6.0, 40.0),
    "head-ct-triage": ("CT", 4.0, 20.0),
    "mr-postcontrast": ("MR", 3.0, 150.0),
}
DOWN_H: Final = 0.6  # hours before the end at which `vna` went; it is not back
NODE: Final = 'instance="node-1",job="imaging-node"'
STAGES: Final = ("assemble", "route", "prepare", "infer", "check", "derive", "deliver")
# Alert -> severity, hours before the end from which on it fires.
FIRING: Final = {"ImagingNodeDestinationDown": ("page", 0.43), "ImagingNodeJobsFailed": ("ticket", 1.2)}

Series = dict[tuple[str, str], float]


def write(folder: Path, *, ends: float) -> Path:
    """Blocks of Prometheus for the day that ends then, seconds since 1970; the folder to start it on."""
    text = folder / "day.om"
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, list[str]] = defaultdict(list)
    for at, values in _minutes(ends):
        for (name, labels), value in values.items():
            kinds[name].append(f"{name}{{{labels}{NODE}}} {value!r} {at:.0f}\n")
    text.write_text("".join("".join(lines) for lines in kinds.values()) + "# EOF\n", encoding="utf-8")
    data = folder / "data"
    command = [which_or_skip("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    return data


def _minutes(ends: float) -> Iterator[tuple[float, Series]]:
    rng = random.Random(5)
    received: Series = defaultdict(float)
    spent: dict[str, list[float]] = {name: [0.0] * (len(BOUNDS_S) + 2) for name in PIPELINES}
    waiting = 0
    for minute in range(HOURS * 60):
        left_h = HOURS - minute / 60
        at = ends - left_h * 3600
        hour = (at / 3600) % 24
        busy = 0.12 + math.exp(-(((hour - 11.5) / 3.8) ** 2)) + 0.3 * math.exp(-(((hour - 19) / 2.5) ** 2))
        down = left_h <= DOWN_H
        for name, (modality, often, usual_s) in PIPELINES.items():
            for _ in range(_poisson(rng, often * busy / 60)):
                received["imaging_node_series_received_total", f'modality="{modality}"'] += 1
                if down and name == "ct-denoise":
                    waiting += 1
                    continue
                took = usual_s * rng.lognormvariate(0, 0.45) * (1 + 0.3 * busy)
                for place, bound in enumerate(BOUNDS_S):
                    spent[name][place] += took <= bound
                spent[name][-2] += 1
                spent[name][-1] += took
        received["imaging_node_series_received_total", 'modality="other"'] += rng.random() < 0.01
        yield at, _shown(received, spent, left_h, waiting, busy, rng, ends)


def _shown(
    received: Series,
    spent: dict[str, list[float]],
    left_h: float,
    waiting: int,
    busy: float,
    rng: random.Random,
    ends: float,
) -> Series:
    shown: Series = {("up", ""): 1.0, **received}
    for name, counts in spent.items():
        own = f'pipeline="{name}"'
        for bound, count in zip((*map(float, BOUNDS_S), "+Inf"), (*counts[:-2], counts[-2]), strict=True):
            shown["imaging_node_turnaround_seconds_bucket", f'{own},le="{bound}"'] = count
        shown["imaging_node_turnaround_seconds_count", own] = counts[-2]
        shown["imaging_node_turnaround_seconds_sum", own] = counts[-1]
        for state, reason, since_h, count in (
            ("held", "hounsfield_scale", 5.0, 2), ("held", "flair_grey", 3.0, 1), ("failed", "fault", 1.4, 1),
            ("refused", "input_refused", 8.0, 3), ("dead", "rejected", 99.0, 0),
        ):  # fmt: skip
            mine = (reason == "flair_grey") == (name == "mr-postcontrast") and name in ("ct-denoise", "mr-postcontrast")
            happened = float(count if mine and left_h < since_h else 0)
            label = f'{own},state="{state}",reason="{reason}"'
            shown["imaging_node_jobs_stopped", label] = happened if reason != "hounsfield_scale" else happened / 2
            shown["imaging_node_holds_total", label] = happened
    for stage in STAGES:
        jobs = waiting if stage == "deliver" else _poisson(rng, 1.2 * busy if stage in ("infer", "assemble") else 0.1)
        shown["imaging_node_queue_depth", f'stage="{stage}",pipeline="ct-denoise"'] = jobs
        oldest = (DOWN_H - left_h) * 3600 if stage == "deliver" and waiting else 20.0 * jobs
        shown["imaging_node_oldest_waiting_seconds", f'stage="{stage}"'] = oldest
    for name in ("pacs", "research", "vna"):
        late = waiting if name == "vna" else _poisson(rng, 0.05)
        shown["imaging_node_destination_up", f'destination="{name}"'] = float(not (name == "vna" and waiting))
        shown["imaging_node_deliveries_waiting", f'destination="{name}"'] = 210.0 * late
        shown["imaging_node_delivery_oldest_seconds", f'destination="{name}"'] = (
            (DOWN_H - left_h) * 3600 if late and name == "vna" else 25.0 * late
        )
    for name, (severity, since_h) in FIRING.items():
        if left_h < since_h:
            label = f'alertname="{name}",severity="{severity}"'
            shown["ALERTS", f'{label},alertstate="firing"'] = 1.0
            shown["ALERTS_FOR_STATE", label] = ends - since_h * 3600
    return {(name, f"{label}," if label else ""): value for (name, label), value in shown.items()}


def _poisson(rng: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count
