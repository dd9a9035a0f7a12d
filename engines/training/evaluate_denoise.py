"""NETWORKS D1: the denoise network against total variation, non-local means and the bilateral filter.

The filters are told the SD of the noise and tuned on training slices for every condition; the network is told nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from engines.ort import OrtEngine
from engines.training import measures
from engines.training.baselines import BASELINES, CLASSICAL, Baseline, Example, Filter, identity, tune
from engines.training.denoise_phantom import on_water, real_noise
from engines.training.detail import probe_field
from engines.training.evaluation import Line, spread
from engines.training.sources import Role, Source
from engines.training.testset import OTHERS, QUARTER, Condition, Item, Truth, listed, make_item, slices_of

Image = NDArray[np.float32]
Row = dict[str, dict[str, dict[str, float]]]  # condition, method, figure

PROBES = ((3.0, 20.0), (3.0, 40.0), (6.0, 20.0), (6.0, 40.0))  # radius in pixels, contrast in HU
EVERY = 3  # the other conditions are measured on every third slice
TUNING = 2  # slices of each training source that tune the filters

_engine: list[OrtEngine] = []


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One held-back slice and what to measure on it."""

    source: Source
    index: int
    truth: Truth
    clean: Image
    tuned: Mapping[str, Mapping[str, tuple[float, ...]]]
    everything: bool


def open_engine(spec: EngineSpec) -> None:
    """Once in every process."""
    _engine.append(OrtEngine(spec, threads=1).__enter__())


def network(image: Image, sd_hu: float) -> Image:
    """The committed network; it does not look at `sd_hu`."""
    made = _engine[0].infer({"hu": np.ascontiguousarray(image[None, None])})["denoised"][0, 0]
    return np.asarray(made, dtype=np.float32)


def methods_of(tuned: Mapping[str, tuple[float, ...]]) -> dict[str, Filter]:
    """Input, filters with their tuned strengths, network."""
    filters = {baseline.name: baseline.build(*tuned[baseline.name]) for baseline in BASELINES}
    return {"identity": identity(), **filters, "network": network}


def measure(task: Task) -> Row:
    """Every figure of every method on one slice."""
    item = make_item(task.source, task.index, task.truth, task.clean)
    conditions = (QUARTER, *OTHERS) if task.everything else (QUARTER,)
    return {
        condition.name: {
            name: _figures(method, item, condition, probes=condition is QUARTER)
            for name, method in methods_of(task.tuned[condition.name]).items()
        }
        for condition in conditions
    }


def _figures(method: Filter, item: Item, condition: Condition, *, probes: bool) -> dict[str, float]:
    noisy, sd_hu = item.noisy(condition), item.sd_hu(condition)
    made = method(noisy, sd_hu)
    found = {
        "rmse": measures.rmse(made, item.clean, item.inside),
        "ssim": measures.ssim(made, item.clean, item.inside),
        "edge_flat": measures.edge_flat_ratio(noisy, made, item.inside),
    }
    soft = (item.clean > -20.0) & (item.clean < 120.0)
    if np.count_nonzero(soft) >= 500:
        found["rmse_soft"] = measures.rmse(made, item.clean, soft)
        before, after = float(np.std((noisy - item.clean)[soft])), float(np.std((made - item.clean)[soft]))
        found["noise_reduction"] = 100.0 * (1.0 - after / before)
    found |= {f"bias_{name}": value for name, value in measures.tissue_bias(made, item.clean).items()}
    for radius, contrast in PROBES if probes else ():
        rng = np.random.default_rng([item.index, int(radius), int(contrast)])
        probe = probe_field(rng, item.clean, item.clean.shape[0], radius, contrast)
        if np.any(np.abs(probe) > contrast / 2.0):
            change = method((noisy + probe).astype(np.float32), sd_hu) - made
            found[f"kept_r{radius:g}_{contrast:g}hu"] = measures.kept_contrast(change, probe)
    return found


def _tune(task: tuple[Baseline, Sequence[Example]]) -> tuple[float, ...]:
    return tune(*task)


def tuned_filters(truth: Truth, data: Path, jobs: int) -> dict[str, dict[str, tuple[float, ...]]]:
    """Strengths per condition and filter, by RMSE on slices that train."""
    items = [make_item(s, i, truth, clean) for s, i, clean in slices_of(Role.TRAIN, truth, data, few=TUNING)]
    conditions = (QUARTER, *OTHERS)
    tasks = [(baseline, [_example(item, c) for item in items]) for c in conditions for baseline in BASELINES]
    strengths = iter(spread(_tune, tasks, jobs=jobs))
    return {condition.name: {baseline.name: next(strengths) for baseline in BASELINES} for condition in conditions}


def _example(item: Item, condition: Condition, side: int = 288) -> Example:
    start = max(item.clean.shape[0] - side, 0) // 2
    cut = (slice(start, start + side), slice(start, start + side))
    return Example(
        noisy=item.noisy(condition)[cut],
        clean=item.clean[cut],
        inside=item.inside[cut],
        sd_hu=item.sd_hu(condition),
    )


def evaluate(spec: EngineSpec, *, data: Path, to: Path | None, jobs: int, every: int = 1) -> dict[str, Any]:
    """The whole of D1; see `engines.training.evaluation.evaluate`."""
    open_engine(spec)
    figures: dict[str, Any] = {}
    table: dict[Truth, list[tuple[str, Row]]] = {}
    for truth in Truth:
        tuned = tuned_filters(truth, data, jobs)
        tasks = [
            Task(source=s, index=i, truth=truth, clean=clean, tuned=tuned, everything=number % EVERY == 0)
            for number, (s, i, clean) in enumerate(slices_of(Role.HELD_BACK, truth, data, every=every))
        ]
        rows = list(spread(measure, tasks, jobs=jobs, start=open_engine, given=(spec,)))
        table[truth] = [(task.source.name, row) for task, row in zip(tasks, rows, strict=True)]
        figures[truth.value] = {"tuned": tuned, "conditions": _summary(table[truth])}
        figures[truth.value]["rmse_by_source"] = _by_source(table[truth])
    strengths = figures[Truth.CLEANED.value]["tuned"][QUARTER.name]
    water = on_water(methods_of(strengths))
    figures["water"] = water
    figures["real_noise_phantom_bone_kernel"] = real_noise(network, data)
    if to is not None:
        from engines.training import pictures

        pictures.denoise(to, methods_of(strengths), data, figures)
    return {
        "acceptance": [line.as_json() for line in acceptance(table, water)],
        "figures": figures,
        "items": listed(data),
    }


def _columns(rows: Sequence[tuple[str, Row]], condition: str, method: str) -> dict[str, tuple[list[float], list[str]]]:
    found: dict[str, tuple[list[float], list[str]]] = {}
    for group, row in rows:
        for name, value in row.get(condition, {}).get(method, {}).items():
            values, groups = found.setdefault(name, ([], []))
            values.append(value)
            groups.append(group)
    return found


def _summary(rows: Sequence[tuple[str, Row]]) -> dict[str, Any]:
    return {
        condition.name: {
            method: {
                name: measures.interval(values, groups).as_json()
                for name, (values, groups) in _columns(rows, condition.name, method).items()
            }
            for method in rows[0][1][condition.name]
        }
        for condition in (QUARTER, *OTHERS)
    }


def _by_source(rows: Sequence[tuple[str, Row]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {}
    for group, row in rows:
        for method, values in row[QUARTER.name].items():
            found.setdefault(group, {}).setdefault(method, []).append(values["rmse"])
    return {group: {m: round(float(np.mean(v)), 2) for m, v in one.items()} for group, one in found.items()}


def acceptance(table: Mapping[Truth, Sequence[tuple[str, Row]]], water: Mapping[str, Any]) -> list[Line]:
    """Every line of D1.

    Error and likeness have to pass with both truths: the cleaned one is kind to non-local means and to a network taught
    by it, the linear one has noise of its own. The other lines are read on the cleaned slices, which are whole.
    """
    lines = []
    for truth in Truth:
        rows = table[truth]
        ours, groups = _columns(rows, QUARTER.name, "network")["rmse"]
        others = {name: _columns(rows, QUARTER.name, name)["rmse"][0] for name in CLASSICAL}
        best = min(others, key=lambda name: float(np.mean(others[name])))
        ratio = measures.ratio_interval(ours, others[best], groups)
        lines.append(_line(f"RMSE over that of {best}, {truth.value} truth", ratio, most=0.80))
        ours, groups = _columns(rows, QUARTER.name, "network")["ssim"]
        theirs = _columns(rows, QUARTER.name, "total_variation")["ssim"][0]
        gain = measures.interval([a - b for a, b in zip(ours, theirs, strict=True)], groups)
        lines.append(_line(f"SSIM minus that of total variation, {truth.value} truth", gain, least=-0.01))
    rows = table[Truth.CLEANED]
    net, tv = (_columns(rows, QUARTER.name, name) for name in ("network", "total_variation"))
    for tissue in measures.TISSUES:
        most = 1.0 if tissue == "soft" else 3.0
        bias = measures.interval(*net[f"bias_{tissue}"])
        lines.append(_line(f"HU bias, {tissue}", bias, least=-most, most=most))
    reduction = measures.interval(*net["noise_reduction"])
    lines.append(_line("noise SD reduction in soft tissue, %", reduction, least=40.0, most=65.0))
    peak = water["network"]["nps_peak_shift_percent"]
    lines.append(Line(name="NPS peak shift in water, %", value=peak, n=water["n"], least=-20.0, most=20.0))
    for radius, contrast in PROBES:
        name, least = f"kept_r{radius:g}_{contrast:g}hu", 0.85 if radius > 4 else 0.70
        title = f"probe r = {radius:g} px, {contrast:g} HU: contrast kept"
        lines.append(_line(title, measures.interval(*net[name]), least=least))
        gain = measures.interval([a - b for a, b in zip(net[name][0], tv[name][0], strict=True)], net[name][1])
        lines.append(_line(f"{title}, minus that of total variation", gain, least=-0.05))
    lines.append(_line("residual edge/flat ratio", measures.interval(*net["edge_flat"]), least=0.6, most=1.15))
    for key, least, strictly in (("6mm_10hu", -0.01, False), ("5mm_20hu", 0.0, True)):
        found = water["network"][f"auc_gain_{key}"]
        title = f"CHO AUC minus that of the input, {key.replace('_', ' ').replace('mm', ' mm').replace('hu', ' HU')}"
        lines.append(
            Line(
                name=title,
                value=found["mean"],
                low=found["low"],
                high=found["high"],
                n=found["n"],
                least=least,
                strictly=strictly,
            )
        )
    return lines


def _line(name: str, found: measures.Interval, *, least: float | None = None, most: float | None = None) -> Line:
    return Line(name=name, value=found.mean, low=found.low, high=found.high, n=found.n, least=least, most=most)
