"""What is said of a rule: waits of emergencies, of others, of those that triage missed, with confidence intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from node.simulation.cases import Cases, Marks, Numbers
from pipelines.queue_rule import MIDDLE

WARM_UP: Final = 0.1  # of the studies at the start, which find an empty list
_SURE: Final = 0.975  # two sides: intervals of 95 %

MEASURES: Final = (
    "emergencies_median", "emergencies_mean", "emergencies_p95", "others_mean", "others_p99", "missed_mean",
    "unseen_mean", "longest",
)  # fmt: skip
"""Minutes of waiting. missed: emergencies that were analysed and got no flag; unseen: those of them with a percentile
of 1/2 or less, which earn no credit; longest: of all studies."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over replications with its 95 % interval; both ends are nan with fewer than two replications."""

    value: float
    low: float
    high: float


def figures(cases: Cases, waits: Numbers) -> dict[str, float]:
    """Every measure of one replication, minutes; nan where there is no such study."""
    start = int(WARM_UP * waits.size)
    wait, emergency = waits[start:], cases.emergency[start:]
    missed = emergency & ~cases.flagged[start:] & ~cases.failed[start:]
    unseen = missed & (cases.percentile[start:] <= MIDDLE)
    return {
        "emergencies_median": _of(wait, emergency, lambda some: float(np.median(some))),
        "emergencies_mean": _of(wait, emergency, _mean),
        "emergencies_p95": _of(wait, emergency, lambda some: float(np.quantile(some, 0.95))),
        "others_mean": _of(wait, ~emergency, _mean),
        "others_p99": _of(wait, ~emergency, lambda some: float(np.quantile(some, 0.99))),
        "missed_mean": _of(wait, missed, _mean),
        "unseen_mean": _of(wait, unseen, _mean),
        "longest": float(wait.max()),
    }


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of Student's t over replications; those without such a study do not count."""
    known = np.array([value for value in values if not math.isnan(value)])
    if known.size == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan)
    half = math.nan
    if known.size > 1:
        half = _student(known.size - 1) * float(known.std(ddof=1)) / math.sqrt(known.size)
    mean = float(known.mean())
    return Estimate(value=mean, low=mean - half, high=mean + half)


def change(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Mean of the values over that of the reference, minus 1; replications belong together in pairs.

    The interval is the jackknife's over replications (Quenouille 1956): the two share their random numbers, which makes
    it narrower than those of the two means let fear.
    """
    pairs = np.array(
        [pair for pair in zip(values, reference, strict=True) if not math.isnan(pair[0] + pair[1])]
    ).reshape(-1, 2)
    count = len(pairs)
    if not count or not pairs[:, 1].sum():
        return Estimate(value=math.nan, low=math.nan, high=math.nan)
    total = pairs.sum(axis=0)
    ratio = float(total[0] / total[1]) - 1.0
    rest = total - pairs
    if count < 2 or not rest[:, 1].all():
        return Estimate(value=ratio, low=math.nan, high=math.nan)
    without = rest[:, 0] / rest[:, 1] - 1.0
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    half = _student(count - 1) * error
    return Estimate(value=ratio, low=ratio - half, high=ratio + half)


def _of(wait: Numbers, which: Marks, figure: Callable[[Numbers], float]) -> float:
    return figure(wait[which]) if which.any() else math.nan


def _mean(some: Numbers) -> float:
    return float(some.mean())


def _student(freedom: int) -> float:
    """The 97.5 % point of Student's t, by Cornish and Fisher's expansion; within 1 % from 4 degrees of freedom on.

    Below, exact values (Fisher's table): there the expansion is too small.
    """
    if freedom <= 4:
        return (12.706, 4.303, 3.182, 2.776)[freedom - 1]
    z = NormalDist().inv_cdf(_SURE)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third
