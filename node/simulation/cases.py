"""The studies of a simulated department: when they come, how long they take to read, what triage says and when."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.simulation.characteristic import Characteristic

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]

DAY_MIN: Final = 1440.0
# Studies by hour of the day, midnight first: an assumption, for a site that has not counted its own.
ASSUMED_DAY: Final = (
    0.45, 0.40, 0.35, 0.30, 0.30, 0.40, 0.60, 0.90, 1.20, 1.45, 1.60, 1.65,
    1.60, 1.55, 1.50, 1.50, 1.45, 1.40, 1.30, 1.15, 1.00, 0.80, 0.65, 0.50,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Site:
    """A department.

    utilisation:     share of their time that all readers read, mean of the day
    day:             24 weights, midnight first; None: as many at any hour
    service_minutes: mean of the reading time, log-normal
    service_sigma:   standard deviation of its logarithm
    emergencies:     share of studies
    failed:          share of studies that triage cannot analyse
    turnaround_s:    from arrival to the verdict
    down:            share of the time in which triage is down
    down_hours:      mean length of one such time
    """

    readers: int = 1
    utilisation: float = 0.8
    day: tuple[float, ...] | None = None
    service_minutes: float = 6.0
    service_sigma: float = 0.6
    emergencies: float = 0.1
    failed: float = 0.02
    turnaround_s: float = 20.0
    down: float = 0.0
    down_hours: float = 4.0

    @property
    def per_minute(self) -> float:
        """Studies per minute, mean of the day."""
        return self.utilisation * self.readers / self.service_minutes


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """Studies in order of arrival; times in minutes since the start, a midnight.

    arrived, service: (n,) when each came, how long its reading takes
    emergency:        (n,)
    percentile:       (n,) of the score among normals; 0 where it was not analysed
    flagged, failed:  (n,) flag raised; not analysable or failed. Never both
    judged:           (n,) when the verdict is known
    down:             (2 k,) begin and end of each time in which triage is down, ascending
    """

    arrived: Numbers
    service: Numbers
    emergency: Marks
    percentile: Numbers
    flagged: Marks
    failed: Marks
    judged: Numbers
    down: Numbers


def draw(site: Site, characteristic: Characteristic, count: int, *, seed: int, replication: int) -> Cases:
    """Studies of one replication.

    The same seed and replication give the same random numbers to every site, each kind from a stream of its own, so
    that what differs between two sites differs because of them (common random numbers).
    """
    streams = np.random.SeedSequence(seed, spawn_key=(replication,)).spawn(7)
    gaps, lengths, kinds, scores, failures, downs, pauses = (np.random.default_rng(one) for one in streams)
    arrived = _clock(np.cumsum(gaps.exponential(size=count)) / site.per_minute, site.day)
    spread = lengths.standard_normal(count)
    service = site.service_minutes * np.exp(site.service_sigma * spread - site.service_sigma**2 / 2)
    emergency = kinds.random(count) < site.emergencies
    place = scores.random(count)
    failed = failures.random(count) < site.failed
    high, low = characteristic.emergencies, characteristic.others
    at_high, at_low = (place * high.size).astype(np.intp), (place * low.size).astype(np.intp)
    percentile = np.where(emergency, high[at_high], low[at_low])
    flagged = np.where(emergency, characteristic.emergencies_flagged[at_high], characteristic.others_flagged[at_low])
    down = _down_times(site, float(arrived[-1]), downs, pauses)
    return Cases(
        arrived=arrived,
        service=service,
        emergency=emergency,
        percentile=np.where(failed, 0.0, percentile),
        flagged=flagged & ~failed,
        failed=failed,
        judged=_up_again(arrived, down) + site.turnaround_s / 60.0,
        down=down,
    )


def _clock(even: Numbers, day: tuple[float, ...] | None) -> Numbers:
    """Times of a process of constant rate, moved so that hours have their weights (a time change of the process)."""
    if day is None:
        return even
    share = np.concatenate([[0.0], np.cumsum(day)]) / sum(day)
    days, rest = np.divmod(even, DAY_MIN)
    inside = np.interp(rest / DAY_MIN, share, np.arange(25) / 24.0)
    return np.asarray((days + inside) * DAY_MIN, np.float64)


def _down_times(site: Site, end: float, lengths: np.random.Generator, pauses: np.random.Generator) -> Numbers:
    if site.down <= 0.0:
        return np.empty(0)
    if site.down >= 1.0:
        return np.array([0.0, np.inf])
    mean = 60.0 * site.down_hours
    many = int(end / mean * site.down * 4) + 20  # more than can be needed; those after the end do nothing
    steps = np.empty(2 * many)
    steps[0::2] = pauses.exponential(mean * (1.0 - site.down) / site.down, many)
    steps[1::2] = lengths.exponential(mean, many)
    return np.asarray(np.cumsum(steps), np.float64)


def _up_again(times: Numbers, down: Numbers) -> Numbers:
    """Each time, or the end of the down-time that it lies in."""
    if not down.size:
        return times
    place = np.searchsorted(down, times, "right")
    inside = place % 2 == 1
    return np.where(inside, down[np.minimum(place, down.size - 1)], times)
