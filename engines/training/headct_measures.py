"""What is measured of a triage: ROC, sensitivity, calibration, whether a map points at the lesion. numpy only.

Intervals are 95 %, by bootstrap over cases, normal and abnormal drawn apart. All cases of one evaluation come from few
heads: the intervals tell how sure a figure is for these heads, not for another head.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.measures import Interval, auc

Scores = NDArray[np.float64]
DRAWS = 2000
NEAR_MM = 6.0  # of the lesion: what still points at it


def _drawn(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(DRAWS, count) indices, with repeats."""
    return rng.integers(0, count, (DRAWS, count))


def _interval(value: float, draws: Scores, count: int) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(mean=value, low=float(low), high=float(high), n=count)


def _areas(normal: Scores, abnormal: Scores) -> tuple[float, Scores]:
    """The area, and that of every draw; the same seed draws the same cases of equally many."""
    if not len(normal) or not len(abnormal):
        raise ValueError("No case had this figure.")
    rng = np.random.default_rng(0)
    counts = []
    for values in (normal, abnormal):
        drawn = _drawn(len(values), rng)
        flat = drawn + len(values) * np.arange(DRAWS)[:, None]
        counts.append(np.bincount(flat.ravel(), minlength=DRAWS * len(values)).reshape(DRAWS, -1) / len(values))
    wins = (abnormal[None] > normal[:, None]) + 0.5 * (abnormal[None] == normal[:, None])
    return auc(abnormal, normal), np.einsum("dn,dn->d", counts[0] @ wins, counts[1])


def area(normal: Scores, abnormal: Scores) -> Interval:
    """Area under the ROC curve. raises: ValueError if a side is empty"""
    value, draws = _areas(normal, abnormal)
    return _interval(value, draws, len(normal) + len(abnormal))


def area_gain(normal: Scores, abnormal: Scores) -> Interval:
    """Area by the first column minus area by the second, the same cases drawn. normal, abnormal: (n, 2)"""
    (first, one), (second, other) = (_areas(normal[:, k], abnormal[:, k]) for k in (0, 1))
    return _interval(first - second, one - other, len(normal) + len(abnormal))


def sensitivity(normal: Scores, abnormal: Scores, specificity: float = 0.9) -> Interval:
    """Share of the abnormal above the threshold that so many normals stay below; it is drawn anew each time."""
    if not len(normal) or not len(abnormal):
        raise ValueError("No case had this figure.")
    rng = np.random.default_rng(0)
    levels = np.quantile(normal[_drawn(len(normal), rng)], specificity, axis=1)
    draws = (abnormal[_drawn(len(abnormal), rng)] > levels[:, None]).mean(axis=1)
    value = float(np.mean(abnormal > np.quantile(normal, specificity)))
    return _interval(value, draws, len(normal) + len(abnormal))


def curve(normal: Scores, abnormal: Scores, points: int = 51) -> list[list[float]]:
    """The ROC: [false alarms, sensitivity] from 0 to 1."""
    rates = np.linspace(0.0, 1.0, points)
    levels = np.quantile(normal, 1.0 - rates)
    return [[round(float(r), 3), round(float(np.mean(abnormal > at)), 4)] for r, at in zip(rates, levels, strict=True)]


def calibration(normal: Scores, abnormal: Scores, bins: int = 8) -> dict[str, Any]:
    """How true probabilities are, both kinds of case weighing the same.

    returns: ece, expected calibration error; brier; bins: [mean probability, share that is abnormal, cases]
    """
    p = np.concatenate([normal, abnormal])
    true = np.concatenate([np.zeros(len(normal)), np.ones(len(abnormal))])
    weight = np.concatenate([np.full(len(normal), 0.5 / len(normal)), np.full(len(abnormal), 0.5 / len(abnormal))])
    order = np.argsort(p, kind="stable")
    share = np.cumsum(weight[order])
    rows, error = [], 0.0
    for index in range(bins):
        part = order[(share > index / bins + 1e-9) & (share <= (index + 1) / bins + 1e-9)]
        if len(part):
            mass = float(weight[part].sum())
            mean, rate = (float((weight[part] * values[part]).sum() / mass) for values in (p, true))
            error += mass * abs(mean - rate)
            rows.append([round(mean, 4), round(rate, 4), len(part)])
    brier = float((weight * (p - true) ** 2).sum())
    return {"ece": round(error, 4), "brier": round(brier, 4), "bins": rows}


def lies_near(
    place: Sequence[float], truth: NDArray[np.bool_], affine: NDArray[np.float64], near_mm: float = NEAR_MM
) -> bool:
    """Whether a voxel lies within `near_mm` of a lesion: the pointing game with a dilated mask.

    place: (z, y, x) voxel; truth: (z, y, x); affine: (4, 4), index -> mm
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    reach = np.ceil(near_mm / spacing).astype(int) + 1
    at = np.rint(np.asarray(place)).astype(int)
    low = np.maximum(at - reach, 0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, at + reach + 1, strict=True))
    found = np.argwhere(truth[box]) + low
    if not len(found):
        return False
    away = (found - np.asarray(place)) @ affine[:3, :3].T
    return bool((away**2).sum(1).min() <= near_mm**2)


def froc(
    normal: Sequence[Sequence[float]], abnormal: Sequence[Sequence[tuple[float, bool]]], rates: Sequence[float]
) -> list[list[float]]:
    """Share of abnormal cases with a mark on the lesion, at so many marks in a normal case on average.

    normal:   of each normal case, the strengths of its marks
    abnormal: of each abnormal case, strength and whether it lies on the lesion, of each mark
    returns:  [marks in a normal case, share found] for each of the rates
    """
    false = np.sort(np.array([strength for marks in normal for strength in marks]))[::-1]
    best = np.array([max((s for s, hit in marks if hit), default=-np.inf) for marks in abnormal])
    rows = []
    for rate in rates:
        count = int(np.floor(rate * len(normal)))
        level = false[count] if count < len(false) else -np.inf
        rows.append([float(rate), round(float(np.mean((best > level) & np.isfinite(best))), 4)])
    return rows


def chance(values: NDArray[np.float64], labels: NDArray[np.bool_], *, folds: int = 5) -> Interval:
    """AUC of a linear classifier (ridge) that tries to tell two sets of cases apart, each case judged untrained.

    values: (n, k) figures; labels: (n,); 0.5 means that the figures tell nothing
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(values))
    scores = np.zeros(len(values))
    for fold in range(folds):
        test = order[fold::folds]
        train = np.setdiff1d(order, test)
        mean, sd = values[train].mean(0), values[train].std(0) + 1e-9
        x, y = (values[train] - mean) / sd, labels[train] - labels[train].mean()
        weights = np.linalg.solve(x.T @ x + len(train) * 0.3 * np.eye(x.shape[1]), x.T @ y)
        scores[test] = ((values[test] - mean) / sd) @ weights
    return area(scores[~labels], scores[labels])
