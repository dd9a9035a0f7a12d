"""Readers and a list of studies: who is read next under each rule, and when. Reading is never interrupted."""

from bisect import bisect_right
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

import numpy as np

from node.simulation.cases import Cases, Numbers
from pipelines.queue_rule import MIDDLE, Key, credit_s, rank

CAP_MIN: Final = 60.0  # of the rule with a cap, minutes (NETWORKS C5)


class Discipline(StrEnum):
    """A rule for who is next."""

    ARRIVAL = "arrival"  # first come, first served: nobody asks the triage
    FLAG = "flag"  # flagged studies first, each kind by arrival
    SCORE = "score"  # the highest score first
    CAP = "score-cap"  # the same, but who waited longer than an hour is next
    CREDIT = "credit"  # bounded credit minutes: `pipelines.queue_rule`, as the worklist in service


def serve(
    cases: Cases, discipline: Discipline, *, readers: int, bound_minutes: float = 120.0, cap_minutes: float = CAP_MIN
) -> Numbers:
    """How long each study waits until somebody begins to read it, (n,), minutes.

    A study is in the list from its arrival, as one without score; the verdict moves it when it comes. While triage is
    down the whole list is by arrival, except under rule ARRIVAL, which is that anyway.
    """
    if discipline is Discipline.ARRIVAL:
        return _in_turn(cases, readers)
    before, after = _keys(cases, discipline, bound_minutes)
    cap = cap_minutes if discipline is Discipline.CAP else inf
    arrived, service, judged = cases.arrived.tolist(), cases.service.tolist(), cases.judged.tolist()
    down: list[float] = cases.down.tolist()
    verdicts = np.argsort(cases.judged, kind="stable").tolist()
    count = len(arrived)
    waits = [0.0] * count
    served, known = bytearray(count), bytearray(count)
    free = [0.0] * readers
    waiting: list[tuple[Key, int, int]] = []
    come = told = oldest = 0  # next to arrive, next verdict, oldest that waits
    for done in range(count):
        now = heappop(free)
        if come == done:
            now = max(now, arrived[come])
        while come < count and arrived[come] <= now:
            known[come] = judged[come] <= now
            heappush(waiting, ((after if known[come] else before)[come], come, known[come]))
            come += 1
        while told < count and judged[verdicts[told]] <= now:
            one = verdicts[told]
            told += 1
            if not (served[one] or known[one]):
                known[one] = 1
                heappush(waiting, (after[one], one, 1))
        while served[oldest]:
            oldest += 1
        if now - arrived[oldest] > cap or (down and bisect_right(down, now) % 2):
            one = oldest
        else:
            _, one, version = heappop(waiting)
            while served[one] or version != known[one]:  # read already, or since then moved to another place
                _, one, version = heappop(waiting)
        served[one] = 1
        waits[one] = now - arrived[one]
        heappush(free, now + service[one])
    return np.asarray(waits)


def _in_turn(cases: Cases, readers: int) -> Numbers:
    free = [0.0] * readers
    heapify(free)
    waits = []
    for arrived, service in zip(cases.arrived.tolist(), cases.service.tolist(), strict=True):
        start = max(heappop(free), arrived)
        waits.append(start - arrived)
        heappush(free, start + service)
    return np.asarray(waits)


def _keys(cases: Cases, discipline: Discipline, bound_minutes: float) -> tuple[list[Key], list[Key]]:
    """Places in the list before and after the verdict is known."""
    at = (60.0 * cases.arrived).tolist()
    scored = list(zip(cases.failed.tolist(), at, cases.percentile.tolist(), cases.flagged.tolist(), strict=True))
    if discipline is Discipline.CREDIT:
        return [rank(False, t, 0.0, True) for t in at], [
            rank(failed, t, credit_s(u, bound_minutes), True) for failed, t, u, _ in scored
        ]
    if discipline is Discipline.FLAG:
        return [(1, 1.0, t) for t in at], [
            (0, 0.0, t) if failed else (1, 0.0 if flagged else 1.0, t) for failed, t, _, flagged in scored
        ]
    return [(1, -MIDDLE, t) for t in at], [(0, 0.0, t) if failed else (1, -u, t) for failed, t, u, _ in scored]
