"""NETWORKS D2: the kernel network against the fitted radial filter, on pairs that are the same photons twice.

The radial filter is fitted by least squares for every pair of kernels and direction, on slices that train: it knows
the noise, the folding and the rounding that the curves alone do not tell. A real pair judges beside it (never trained
on): there the filter that knows only the curves of both kernels is the measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from engines.kernel import Kernel, apply_gain, convert_linear, descriptor, linear_gain, radial
from engines.ort import OrtEngine
from engines.training import measures
from engines.training.baselines import RadialFilter, fit_radial
from engines.training.clean import read_nifti, square
from engines.training.evaluation import Line, spread
from engines.training.kernel_pairs import make_pair
from engines.training.kernel_phantom import on_lungs, on_water
from engines.training.sources import PHANTOM, Role, Source
from engines.training.testset import Truth, listed, seed_of, slices_of

Image = NDArray[np.float32]
Row = dict[str, dict[str, dict[str, float]]]  # direction, method, figure

UB = Kernel(cutoff=0.83, noise_kept=0.68)  # as pipelines.kernels has it
YA = Kernel(cutoff=1.9, boost=0.95, boost_at=0.515, boost_width=0.31)
PAIRS: Mapping[str, tuple[Kernel, Kernel]] = {
    "Hann 0.85 and 1.5 + 50 %": (Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)),
    "Hann 0.75 and 1.3 + 30 %": (Kernel(cutoff=0.75), Kernel(cutoff=1.3, boost=0.3, boost_at=0.5)),
    "Hann 0.83 iterative and 1.9 + 95 %": (UB, YA),
}
DIRECTIONS = ("sharp to soft", "soft to sharp")
WATER_PAIR = "Hann 0.85 and 1.5 + 50 %"
REAL_SLICES = range(46, 60)  # none of them trains with either kernel
MARGIN = 16

_engine: list[OrtEngine] = []
_fitted: dict[str, RadialFilter] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A slice and the kernels through which it is shown."""

    source: Source
    index: int
    clean: Image
    pair: str


def start(spec: EngineSpec, fitted: Mapping[str, RadialFilter]) -> None:
    """Once in every process."""
    _engine.append(OrtEngine(spec, threads=1).__enter__())
    _fitted.update(fitted)


def network(image: Image, source: Kernel, target: Kernel, pixel_mm: float) -> Image:
    """The committed network, fed as the pipeline feeds it."""
    feeds = {
        "hu": image[None, None],
        "linear": convert_linear(image, source, target, pixel_mm)[None, None],
        "kernels": descriptor(source, target, pixel_mm)[None],
    }
    made = _engine[0].infer({name: np.ascontiguousarray(feed) for name, feed in feeds.items()})["converted"][0, 0]
    return np.asarray(made, dtype=np.float32)


def both_ways(task: Task) -> tuple[Image, Image]:
    """The slice through the soft and through the sharp kernel."""
    rng = np.random.default_rng([*seed_of(task.source, task.index), 2, list(PAIRS).index(task.pair)])
    soft_sd_hu = float(4.0 * 5.0 ** rng.random())
    return make_pair(task.clean, task.source.pixel_mm, *PAIRS[task.pair], soft_sd_hu=soft_sd_hu, rng=rng)


def measure(task: Task) -> Row:
    """Every figure of every method on one slice, both ways."""
    soft, sharp = both_ways(task)
    pixel_mm = task.source.pixel_mm
    result: Row = {}
    for direction in DIRECTIONS:
        given, wanted = (sharp, soft) if direction == DIRECTIONS[0] else (soft, sharp)
        kernels = _ordered(task.pair, direction)
        made = {
            "identity": given,
            "blind_filter": convert_linear(given, *kernels, pixel_mm),
            "fitted_filter": _fitted[f"{task.pair}, {direction}"](given, pixel_mm),
            "network": network(given, *kernels, pixel_mm),
        }
        result[direction] = {name: _figures(image, given, wanted, task, kernels) for name, image in made.items()}
        back = kernels[::-1]
        again = network(made["network"], *back, pixel_mm)
        result[direction]["network"]["cycle_rmse"] = measures.rmse(again, given, task.clean > -500.0)
    return result


def _ordered(pair: str, direction: str) -> tuple[Kernel, Kernel]:
    soft, sharp = PAIRS[pair]
    return (sharp, soft) if direction == DIRECTIONS[0] else (soft, sharp)


def _figures(made: Image, given: Image, wanted: Image, task: Task, kernels: tuple[Kernel, Kernel]) -> dict[str, float]:
    body = task.clean > -500.0
    found = {"rmse": measures.rmse(made, wanted, body), "ssim": measures.ssim(made, wanted, body)}
    for tissue, (lowest, highest) in measures.TISSUES.items():
        inside = (task.clean >= lowest) & (task.clean < highest)
        if np.count_nonzero(inside) >= 500:
            found[f"bias_{tissue}"] = float(np.mean((made - wanted)[inside], dtype=np.float64))
    found["refilter"] = refilter_residual(made, given, *kernels, task.source.pixel_mm, body)
    return found


def refilter_residual(
    made: Image, given: Image, source: Kernel, target: Kernel, pixel_mm: float, inside: NDArray[np.bool_]
) -> float:
    """SD of the result, converted back by the linear filter, minus the input, over the SD of the input's noise.

    Read where both kernels pass more than a tenth (NETWORKS E-4). The noise is what differs between the input and its
    mean over 9x9 pixels in the flattest tenth of the body.
    """
    at = radial((given.shape[0], given.shape[1]), pixel_mm, MARGIN)
    passed = ((source(at) > 0.1) & (target(at) > 0.1)).astype(np.float64)
    back = apply_gain(made, linear_gain(target, source, at) * passed, MARGIN)
    residual = back - apply_gain(given, passed, MARGIN)
    return float(np.std(residual[inside])) / measures.flat_noise(given, inside)


def fitted_filters(data: Path, jobs: int) -> dict[str, RadialFilter]:
    """A radial filter per pair of kernels and direction, fitted on slices that train."""
    slices = list(slices_of(Role.TRAIN, Truth.CLEANED, data, few=2))
    found = {}
    for pair in PAIRS:
        tasks = [Task(source=s, index=i, clean=clean, pair=pair) for s, i, clean in slices]
        shown = list(spread(both_ways, tasks, jobs=jobs))
        for direction in DIRECTIONS:
            ordered = [(b, a) if direction == DIRECTIONS[0] else (a, b) for a, b in shown]
            samples = [(a, b, task.source.pixel_mm) for (a, b), task in zip(ordered, tasks, strict=True)]
            found[f"{pair}, {direction}"] = fit_radial(samples)
    return found


def evaluate(spec: EngineSpec, *, data: Path, to: Path | None, jobs: int, every: int = 1) -> dict[str, Any]:
    """The whole of D2; see `engines.training.evaluation.evaluate`."""
    fitted = fitted_filters(data, jobs)
    start(spec, fitted)
    names = list(PAIRS)
    tasks = [
        Task(source=s, index=i, clean=clean, pair=names[number % len(names)])
        for number, (s, i, clean) in enumerate(slices_of(Role.HELD_BACK, Truth.CLEANED, data, every=every))
    ]
    made = list(spread(measure, tasks, jobs=jobs, start=start, given=(spec, fitted)))
    rows = [(task.source.name, task.pair, row) for task, row in zip(tasks, made, strict=True)]
    figures: dict[str, Any] = {
        "simulated": summary(rows),
        "simulated_by_pair": {name: summary([row for row in rows if row[1] == name]) for name in PAIRS},
        "water": on_water(network, *PAIRS[WATER_PAIR]),
        "lungs": on_lungs(network, *PAIRS[WATER_PAIR]),
        "real_pair": real_pair(data),
    }
    if to is not None:
        from engines.training import pictures

        shown = [task for task in tasks if task.pair == WATER_PAIR]
        pairs = [(task.source.name, task.source.pixel_mm, *both_ways(task)) for task in shown]
        pictures.kernel(to, network, pairs, PAIRS[WATER_PAIR], figures)
    return {
        "acceptance": [line.as_json() for line in acceptance(rows, figures)],
        "figures": figures,
        "items": listed(data),
    }


def column(
    rows: Sequence[tuple[str, str, Row]], direction: str, method: str, name: str
) -> tuple[list[float], list[str]]:
    """A figure of every slice that has it, and the volumes they are of."""
    found = [(row[direction][method][name], group) for group, _, row in rows if name in row[direction][method]]
    return [value for value, _ in found], [group for _, group in found]


def summary(rows: Sequence[tuple[str, str, Row]]) -> dict[str, Any]:
    """Means and intervals by direction, method and figure."""
    found: dict[str, Any] = {}
    for direction in DIRECTIONS:
        for method in rows[0][2][direction]:
            figures = dict.fromkeys(name for _, _, row in rows for name in row[direction][method])
            found.setdefault(direction, {})[method] = {
                name: measures.interval(*column(rows, direction, method, name)).as_json() for name in figures
            }
    return found


def real_pair(data: Path) -> dict[str, Any]:
    """The head phantom through UB and YA, same raw data: RMSE in the whole image and in the body, HU."""
    soft, sharp = read_nifti(data / PHANTOM), read_nifti(data / PHANTOM.replace("UB", "YA"))
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for index in REAL_SLICES:
        pair = square(soft[index]), square(sharp[index])
        body = pair[0] > -500.0
        for direction in DIRECTIONS:
            given, wanted = pair[::-1] if direction == DIRECTIONS[0] else pair
            kernels = (YA, UB) if direction == DIRECTIONS[0] else (UB, YA)
            made = {
                "identity": given,
                "blind_filter": convert_linear(given, *kernels, 0.45),
                "network": network(given, *kernels, 0.45),
            }
            for name, image in made.items():
                entry = found.setdefault(direction, {}).setdefault(name, {"rmse": [], "rmse_body": [], "bias_soft": []})
                entry["rmse"].append(measures.rmse(image, wanted, np.ones(body.shape, dtype=bool)))
                entry["rmse_body"].append(measures.rmse(image, wanted, body))
                flat = (pair[0] > -20.0) & (pair[0] < 120.0)
                entry["bias_soft"].append(float(np.mean((image - wanted)[flat])))
    result: dict[str, Any] = {
        direction: {
            name: {key: measures.interval(values).as_json() for key, values in entry.items()}
            for name, entry in methods.items()
        }
        for direction, methods in found.items()
    }
    for direction, methods in found.items():
        ours, blind = (methods[name]["rmse_body"] for name in ("network", "blind_filter"))
        groups = [str(index) for index in REAL_SLICES]
        result[direction]["ratio_to_blind"] = measures.ratio_interval(ours, blind, groups).as_json()
    return result


def acceptance(rows: Sequence[tuple[str, str, Row]], figures: Mapping[str, Any]) -> list[Line]:
    """Every line of D2."""
    lines = []
    for direction, most in zip(DIRECTIONS, (0.75, 0.80), strict=True):
        ours, groups = column(rows, direction, "network", "rmse")
        # Least squares over whole images need not be the best within the body: the better linear filter is the measure.
        linear = {name: column(rows, direction, name, "rmse")[0] for name in ("fitted_filter", "blind_filter")}
        best = min(linear, key=lambda name: sum(linear[name]))
        ratio = measures.ratio_interval(ours, linear[best], groups)
        name = f"{direction}: RMSE over that of the {best.replace('_', ' ')}, simulated"
        lines.append(_line(name, ratio.as_json(), most=most))
    for direction in DIRECTIONS:
        ratio_real = figures["real_pair"][direction]["ratio_to_blind"]
        lines.append(_line(f"{direction}: RMSE over that of the blind filter, real pair", ratio_real, most=1.0))
    for direction in DIRECTIONS:
        water = figures["water"][direction]
        count = figures["water"]["n"]
        lines.append(
            Line(
                name=f"{direction}: noise SD over the target's, water",
                value=water["noise_sd_ratio"],
                n=count,
                least=0.9,
                most=1.1,
            )
        )
        for name, title in (("mtf50_per_mm", "MTF50"), ("nps_peak_per_mm", "NPS peak")):
            off = water[name]["off_percent"]
            lines.append(
                Line(name=f"{direction}: {title} off the target's, %", value=off, n=count, least=-10.0, most=10.0)
            )
        for tissue in measures.TISSUES:
            bias = measures.interval(*column(rows, direction, "network", f"bias_{tissue}")).as_json()
            lines.append(_line(f"{direction}: HU bias, {tissue}", bias, least=-1.0, most=1.0))
        residual = measures.interval(*column(rows, direction, "network", "refilter")).as_json()
        lines.append(_line(f"{direction}: re-filter residual over the input's noise", residual, most=2.0))
    lines.append(
        _line("sharp to soft: LAA-950 bias, lung phantom, %-points", figures["lungs"]["bias"], least=-1.0, most=1.0)
    )
    return lines


def _line(name: str, found: Mapping[str, float], *, least: float | None = None, most: float | None = None) -> Line:
    return Line(
        name=name,
        value=found["mean"],
        low=found["low"],
        high=found["high"],
        n=int(found["n"]),
        least=least,
        most=most,
    )
