"""Whether a scanner's triage still behaves as it did when it was accepted: functions of the verdicts so far, no more.

Nobody tells the node which studies were emergencies. What can be seen is how often the flag is raised and how the
scores are spread; both move when a scanner, a protocol or the patients do (NETWORKS E-14, E-15).
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.triage import Flag

BASELINE: Final = 200  # studies of a scanner that later ones are compared with (NETWORKS D6)
WINDOW: Final = 200  # newest studies that are compared (NETWORKS E-14)
ENOUGH: Final = 100  # of them, before anything is said of scores
PSI_LIMIT: Final = 0.2
KS_LIMIT: Final = 0.001
EWMA_WEIGHT: Final = 0.1
EWMA_LIMIT: Final = 3.0
_TIMES: Final = 2.0  # change of the alarm rate that the sums are laid out to find: twice as many, half as many
_ALONE: Final = 2000  # studies, mean, between two false alarms of the sums, at least
_LIMIT: Final = math.log(2 * _ALONE)
_BINS: Final = 10
_RARE: Final = 0.001  # chance of a false alarm of the index, in each window


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One verdict.

    percentile: of the score among those of normals; None if not analysable
    """

    flag: Flag
    percentile: float | None


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Cumulated log-likelihood ratios of flags: for a rate that rose, for one that fell. An alarm is at `limit`."""

    rose: float
    fell: float
    limit: float

    @property
    def crossed(self) -> bool:
        """Whether the rate is believed to have changed."""
        return max(self.rose, self.fell) >= self.limit


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What is known of one scanner; None where there were too few studies to say.

    studies, not_analysable: of the newest `WINDOW`: how many there were, share that was not analysable
    alarm_rate:      share of the analysed ones of them with a flag
    expected_rate:   of the settings, or of the first `BASELINE` studies
    of_settings:     which of the two
    sums:            of the alarm rate, since then
    shift:           mean percentile of the newest, minus that of the first `BASELINE`
    psi, psi_limit:  population stability index of the two, and where it is believed
    ks, ks_chance:   largest distance of their distributions, and its chance if nothing had changed
    ewma:            exponentially weighted mean of percentiles, in standard deviations off that of the first `BASELINE`
    warnings:        what is believed to have changed, in plain words
    """

    studies: int
    not_analysable: float | None
    alarm_rate: float | None
    expected_rate: float | None
    of_settings: bool
    sums: Sums | None = None
    shift: float | None = None
    psi: float | None = None
    psi_limit: float | None = None
    ks: float | None = None
    ks_chance: float | None = None
    ewma: float | None = None
    warnings: tuple[str, ...] = ()


def drift(first: Sequence[Seen], newer: Sequence[Seen], *, accepted_rate: float | None) -> Drift:
    """Compare the newer verdicts of a scanner with its first ones. All are of one network with one threshold.

    first:         in order, up to the analysed one that makes `BASELINE` of them; until there is, all
    newer:         those after them, in order
    accepted_rate: alarm rate measured when the scanner was accepted; None: that of the first ones
    """
    newest = (*first, *newer)[-WINDOW:]
    seen = [one for one in newest if one.percentile is not None]
    base = [one for one in first if one.percentile is not None]
    complete = len(base) >= BASELINE
    rate = accepted_rate if accepted_rate is not None else _rate(base) if complete else None
    since = [one for one in ((*first, *newer) if accepted_rate is not None else newer) if one.percentile is not None]
    found = Drift(
        studies=len(newest),
        not_analysable=None if not newest else 1.0 - len(seen) / len(newest),
        alarm_rate=_rate(seen) if seen else None,
        expected_rate=rate,
        of_settings=accepted_rate is not None,
        sums=None if rate is None else sums([one.flag is Flag.RAISED for one in since], rate),
    )
    return _warned(_scores(found, first, newer) if complete else found)


def sums(raised: Sequence[bool], rate: float) -> Sums:
    """Both sums after the last study; see `course`."""
    return deque(course(raised, rate), maxlen=1).pop() if raised else Sums(rose=0.0, fell=0.0, limit=_LIMIT)


def course(raised: Sequence[bool], rate: float) -> Iterator[Sums]:
    """Bernoulli CUSUM (Page 1954; Reynolds and Stoumbos 1999), one for twice the rate and one for half of it.

    raised:  of each study, in order
    rate:    expected share, above 0 and below 1; one at an end is moved inside, since no sample proves "never"
    yields:  both sums and the limit, after each study: with the right rate, false alarms of both together are `_ALONE`
             studies apart in the mean or more, by Lorden's bound (1971), exp(limit) studies for each
    """
    rate = min(max(rate, 0.5 / BASELINE), 1.0 - 0.5 / BASELINE)
    rose = fell = 0.0
    more, less = min(_TIMES * rate, (1.0 + rate) / 2), rate / _TIMES
    up = (math.log((1.0 - more) / (1.0 - rate)), math.log(more / rate))
    down = (math.log((1.0 - less) / (1.0 - rate)), math.log(less / rate))
    for one in raised:
        rose, fell = max(0.0, rose + up[one]), max(0.0, fell + down[one])
        yield Sums(rose=rose, fell=fell, limit=_LIMIT)


def stability(expected: Sequence[float], found: Sequence[float]) -> tuple[float, float]:
    """Population stability index: sum of (p - q) ln(p / q) over tenths of the expected distribution.

    returns: the index, and the value from which on it is believed: 0.2, or what chance exceeds once in 1,000 windows
             where that is more, since the index of two equal distributions is about chi-squared (1/n + 1/m)
             (Yurdakul 2018)
    """
    reference, sample = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    edges = np.unique(np.quantile(reference, np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    p = _shares(np.searchsorted(edges, reference, "right"), edges.size + 1)
    q = _shares(np.searchsorted(edges, sample, "right"), edges.size + 1)
    index = float(((p - q) * np.log(p / q)).sum())
    chance = _chi_squared(edges.size) * (1.0 / reference.size + 1.0 / sample.size)
    return index, max(PSI_LIMIT, chance)


def distance(expected: Sequence[float], found: Sequence[float]) -> tuple[float, float]:
    """Kolmogorov and Smirnov: the largest distance of two distributions, and its chance if they are one.

    The chance is asymptotic with Stephens' correction (1970); with ties it is too large, never too small.
    """
    a, b = np.sort(np.asarray(expected, np.float64)), np.sort(np.asarray(found, np.float64))
    every = np.concatenate([a, b])
    gaps = np.searchsorted(a, every, "right") / a.size - np.searchsorted(b, every, "right") / b.size
    largest = float(np.abs(gaps).max())
    root = math.sqrt(a.size * b.size / (a.size + b.size))
    scaled = (root + 0.12 + 0.11 / root) * largest
    if scaled < 0.3:
        return largest, 1.0  # the series does not converge there; the chance is above 0.9999
    terms = [(-1) ** (k - 1) * math.exp(-2.0 * k * k * scaled * scaled) for k in range(1, 101)]
    return largest, min(1.0, max(0.0, 2.0 * math.fsum(terms)))


def ewma(expected: Sequence[float], found: Sequence[float]) -> float:
    """Exponentially weighted moving average (Roberts 1959) of `found`: standard deviations of it off `expected`."""
    reference = np.asarray(expected, np.float64)
    mean, spread = float(reference.mean()), max(float(reference.std(ddof=1)), 1e-6)
    level = mean
    for value in found:
        level += EWMA_WEIGHT * (value - level)
    fading = 1.0 - (1.0 - EWMA_WEIGHT) ** (2 * len(found))
    return (level - mean) / (spread * math.sqrt(EWMA_WEIGHT / (2.0 - EWMA_WEIGHT) * fading)) if found else 0.0


def _scores(found: Drift, first: Sequence[Seen], newer: Sequence[Seen]) -> Drift:
    expected, since = _percentiles(first), _percentiles(newer)
    newest = since[-WINDOW:]
    if len(newest) < ENOUGH:
        return found
    index, limit = stability(expected, newest)
    largest, chance = distance(expected, newest)
    return replace(
        found,
        shift=float(np.mean(newest) - np.mean(expected)),
        psi=index,
        psi_limit=limit,
        ks=largest,
        ks_chance=chance,
        ewma=ewma(expected, since),
    )


def _warned(found: Drift) -> Drift:
    lines = []
    if found.sums is not None and found.sums.crossed and found.expected_rate is not None:
        way = "more" if found.sums.rose > found.sums.fell else "fewer"
        now = "-" if found.alarm_rate is None else f"{found.alarm_rate:.0%}"
        lines.append(f"{way} flags than expected: {now} of the newest studies, expected {found.expected_rate:.0%}")
    if found.psi is not None and found.psi_limit is not None and found.psi > found.psi_limit:
        lines.append(f"scores are spread otherwise: stability index {found.psi:.2f}, limit {found.psi_limit:.2f}")
    if found.ks_chance is not None and found.ks_chance < KS_LIMIT:
        lines.append(f"scores are spread otherwise: largest distance {found.ks:.2f}, by chance {found.ks_chance:.1g}")
    if found.ewma is not None and abs(found.ewma) > EWMA_LIMIT:
        lines.append(f"scores moved {'up' if found.ewma > 0 else 'down'}: {found.ewma:+.1f} standard deviations")
    return replace(found, warnings=tuple(lines))


def _rate(seen: Sequence[Seen]) -> float:
    return sum(one.flag is Flag.RAISED for one in seen) / len(seen)


def _percentiles(seen: Sequence[Seen]) -> list[float]:
    return [one.percentile for one in seen if one.percentile is not None]


def _shares(bins: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Shares of bins, half a study added to each: an empty one has no logarithm."""
    counts = np.bincount(bins, minlength=count) + 0.5
    return np.asarray(counts / counts.sum(), np.float64)


def _chi_squared(freedom: int) -> float:
    """The point that chance exceeds with `_RARE`, by Wilson and Hilferty (1931)."""
    if freedom < 1:
        return math.inf
    z = NormalDist().inv_cdf(1.0 - _RARE)
    return float(freedom * (1.0 - 2.0 / (9 * freedom) + z * math.sqrt(2.0 / (9 * freedom))) ** 3)
