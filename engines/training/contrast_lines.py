"""The figures of D3 from the rows of all cases: means with their intervals over cases, and the lines of acceptance."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from engines.training import contrast_measures as measured
from engines.training.evaluation import Line
from engines.training.measures import interval, ratio_interval

METHODS = ("t1_map", "regression", "network")
CONTROLS = ("sinus", "choroid", "pituitary")
Row = dict[str, Any]  # method -> what `contrast_measures` found, and what belongs to the case


class Part(StrEnum):
    """What a case is for."""

    FIT = "fit"
    CHOOSE = "choose"
    CHOOSE_QUIET = "choose, quiet"
    CHOOSE_FREE = "choose, lesion-free"
    LESIONS = "lesions"
    FREE = "lesion-free"
    QUIET = "only lesions with the barrier whole"
    NO_FLAIR = "FLAIR missing"
    NO_T2 = "T2 missing"


class Task(Protocol):
    """What is told of a case: what it is for, and its name in the bootstrap."""

    @property
    def part(self) -> Part: ...

    @property
    def group(self) -> str: ...


Rows = Sequence[tuple[Task, Row]]


def volumes(found: Mapping[str, Any]) -> tuple[float, float]:
    """Enhancing, mL: made and true."""
    return found["ours_ml"], found["true_ml"]


def of(rows: Rows, part: Part, get: Callable[[Row], list[float]]) -> tuple[list[float], list[str]]:
    """Values and their cases."""
    pairs = [(value, task.group) for task, row in rows if task.part is part for value in get(row)]
    return [value for value, _ in pairs], [group for _, group in pairs]


def agreement(rows: Rows, part: Part, method: str, key: str = "findings") -> dict[str, float]:
    """CCC of enhancing volumes with its bootstrap interval over cases."""
    pairs = np.array([volumes(row[method][key]) for task, row in rows if task.part is part])
    rng = np.random.default_rng(0)
    draws = [measured.concordance(*pairs[rng.integers(0, len(pairs), len(pairs))].T) for _ in range(1000)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"mean": measured.concordance(*pairs.T), "low": float(low), "high": float(high), "n": len(pairs)}


def gained(rows: Rows, method: str, key: str = "findings") -> dict[str, float]:
    """CCC of the network minus that of a baseline, cases drawn together."""
    parts = [row for task, row in rows if task.part is Part.LESIONS]
    ours, theirs = (
        np.array([volumes(row[name][where]) for row in parts])
        for name, where in (("network", "findings"), (method, key))
    )
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        some = rng.integers(0, len(parts), len(parts))
        draws.append(measured.concordance(*ours[some].T) - measured.concordance(*theirs[some].T))
    low, high = np.quantile(draws, (0.025, 0.975))
    value = measured.concordance(*ours.T) - measured.concordance(*theirs.T)
    return {"mean": value, "low": float(low), "high": float(high), "n": len(parts)}


def values_of(method: str) -> dict[str, Callable[[Row], list[float]]]:
    """Name of a figure -> its values in one row."""
    return {
        "sensitivity": lambda row: [float(v) for v in row[method]["findings"]["found"]],
        "false_lesions": lambda row: [float(row[method]["findings"]["false_lesions"])],
        "false_ml": lambda row: [row[method]["findings"]["false_ml"]],
        "quiet": lambda row: [float(v["false"]) for v in row[method]["findings"]["quiet"]],
        "surprise": lambda row: [float(v["false"]) for v in row[method]["findings"]["quiet"] if v["surprise"]],
        "mae": lambda row: [row[method]["region"]["mae"]] if "region" in row[method] else [],
        "bias": lambda row: [row[method]["region"]["bias"]] if "region" in row[method] else [],
        "psnr": lambda row: [row[method]["region"]["psnr"]] if "region" in row[method] else [],
        "ssim": lambda row: [row[method]["region"]["ssim"]] if "region" in row[method] else [],
        **{name: _control(method, name) for name in CONTROLS},
        "nawm_percent": lambda row: [row[method]["nawm_percent"]],
    }


def _control(method: str, name: str) -> Callable[[Row], list[float]]:
    """1 where a control enhances as truth must (its median over 1.15), 0 where not; nothing where it is not in view."""

    def get(row: Row) -> list[float]:
        found = row[method]["controls"]
        return [float(found[name] > 0.15)] if name in found else []

    return get


def _plain(name: str) -> Callable[[Row], list[float]]:
    return lambda row: [row[name]] if row[name] is not None else []


def summary(rows: Rows) -> dict[str, Any]:
    """Means and intervals by part, method and figure."""
    found: dict[str, Any] = {}
    for part in dict.fromkeys(task.part for task, _ in rows):
        entry: dict[str, Any] = {}
        for method in METHODS:
            entry[method] = {"ccc": agreement(rows, part, method)} if part is not Part.FREE else {}
            for name, get in values_of(method).items():
                values, groups = of(rows, part, get)
                if values:
                    entry[method][name] = interval(values, groups).as_json()
        for key in ("covered", "covered_lesions", "true_nawm_percent"):
            values, groups = of(rows, part, _plain(key))
            if values:
                entry[key] = interval(values, groups).as_json()
        found[part.value] = entry
    pairs = np.array([volumes(row["network"]["findings"]) for task, row in rows if task.part is Part.LESIONS])
    off = pairs[:, 0] - pairs[:, 1]
    found["bland_altman_ml"] = {"bias": float(off.mean()), "limit": float(1.96 * off.std()), "n": len(off)}
    own = {name: agreement(rows, Part.LESIONS, name, "own") for name in METHODS if name != "network"}
    return {**found, "ccc_at_own_threshold": own}


def acceptance(rows: Rows) -> list[Line]:
    """Every line of D3."""
    network = values_of("network")

    def mean(part: Part, name: str) -> dict[str, float]:
        return interval(*of(rows, part, network[name])).as_json()

    def line(name: str, found: Mapping[str, float], *, least: float | None = None, most: float | None = None) -> Line:
        value, low, high = found["mean"], found["low"], found["high"]
        return Line(name=name, value=value, low=low, high=high, n=int(found["n"]), least=least, most=most)

    def error_ratio(method: str) -> dict[str, float]:
        ours, groups = of(rows, Part.LESIONS, network["mae"])
        theirs, _ = of(rows, Part.LESIONS, values_of(method)["mae"])
        return ratio_interval(ours, theirs, groups).as_json()

    return [
        line("enhancing volume, CCC", agreement(rows, Part.LESIONS, "network"), least=0.70),
        line("CCC over that of the regression, same threshold", gained(rows, "regression"), least=0.15),
        line("CCC over that of the regression, its own best threshold", gained(rows, "regression", "own"), least=0.15),
        line("lesions of 1 mL and more found", mean(Part.LESIONS, "sensitivity"), least=0.80),
        line("false lesions per case", mean(Part.LESIONS, "false_lesions"), most=0.5),
        line("false enhancement in lesion-free heads, mL", mean(Part.FREE, "false_ml"), most=0.5),
        line("lesions with the barrier whole that enhance", mean(Part.QUIET, "quiet"), most=0.10),
        line("enhancing region: MAE over that of the line through T1", error_ratio("t1_map"), most=0.7),
        line("enhancing region: MAE over that of the regression", error_ratio("regression"), most=0.7),
        *[line(f"cases whose {name} enhances", mean(Part.LESIONS, name), least=0.95) for name in CONTROLS],
        line("normal-appearing white matter, change in %", mean(Part.LESIONS, "nawm_percent"), least=0.0, most=6.0),
    ]
