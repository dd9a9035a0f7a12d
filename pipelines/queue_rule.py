"""The order of a reading list: bounded credit minutes for a score, and arrival for everything else (NETWORKS C5, E-15).

A study with a high score is read as if it had arrived up to B minutes earlier. Nothing is ever moved back, so a study
that the network missed is passed only by studies that arrived less than B after it. A list that puts flagged studies
first, or sorts by the score alone, has no such bound.
"""

import math
from typing import Final

MIDDLE: Final = 0.5  # percentile among normals from which a score earns credit
SLOT_S: Final = 60.0  # studies of one minute keep the order in which they came
_OF_PRIORITY: Final = {"HIGH": 1.0, "MEDIUM": 0.0, "LOW": -1.0}  # (0074,1200), PS3.3 C.30.1

Key = tuple[int, float, float]


def credit_s(percentile: float, bound_minutes: float) -> float:
    """Seconds that a study is read earlier than its arrival says: B clip((u - 1/2) / (1/2), 0, 1).

    percentile:    u, of the study's score among the scores of normals, 0 to 1
    bound_minutes: B, the most that any study earns
    returns:       0 to 60 B, s
    raises:        ValueError for a percentile that is none, or a bound below 0 or without end
    source:        NETWORKS C5; a static key, so that the order never depends on when somebody asks
    """
    if not 0.0 <= percentile <= 1.0:
        raise ValueError(f"A percentile of {percentile}; it lies between 0 and 1.")
    _require_bound(bound_minutes)
    return 60.0 * bound_minutes * max(0.0, (percentile - MIDDLE) / (1.0 - MIDDLE))


def credit_of_priority_s(priority: str, bound_minutes: float) -> float:
    """Credit of a workitem that somebody else made and that has no score: HIGH 60 B, MEDIUM 0, LOW -60 B, in s.

    priority: Scheduled Procedure Step Priority (0074,1200)
    raises:   ValueError for any other word, or a bound below 0 or without end
    """
    _require_bound(bound_minutes)
    if priority not in _OF_PRIORITY:
        raise ValueError(f"A priority of {priority[:16]!a}; known are {', '.join(_OF_PRIORITY)}.")
    return 60.0 * bound_minutes * _OF_PRIORITY[priority]


def rank(first: bool, queued_at: float, credit_s: float, up: bool) -> Key:
    """What a reading list is sorted by, lowest first.

    first:     not analysable, or its triage failed: on top, oldest first, since nothing is known of it
    queued_at: when the study came, s since the epoch
    credit_s:  of `credit_s` or `credit_of_priority_s`
    up:        whether triage works; if not, arrival alone counts, for every study of the list
    returns:   a key for comparison with others of the same `up`. Equal keys: came at the same instant; the caller's
               sort is stable or breaks the tie by an identifier
    raises:    ValueError for a time or credit that is no finite number: such a key would have no place

    For studies that are not `first`: one that came 60 B seconds or more after another, with credits of 0 to 60 B, is
    never before it. Whole minutes are compared, then arrival: neither a scanner's clock nor a hair's breadth of score
    decides between studies of one minute.
    """
    if not (math.isfinite(queued_at) and math.isfinite(credit_s)):
        raise ValueError(f"A study that came at {queued_at} with a credit of {credit_s} s has no place in a list.")
    if not up:
        return (1, queued_at, queued_at)
    if first:
        return (0, queued_at, queued_at)
    return (1, float(math.floor((queued_at - credit_s) / SLOT_S)), queued_at)


def _require_bound(bound_minutes: float) -> None:
    if not 0.0 <= bound_minutes < math.inf:
        raise ValueError(f"A bound of {bound_minutes} minutes; it is 0 or more, and ends.")
