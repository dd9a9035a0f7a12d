"""Whether triage is up: only then may scores order a worklist (NETWORKS E-15: downtime reverts to arrival order)."""

from typing import Final

from node import signs
from node.settings import Settings

PART: Final = "triage"  # the sign of life that a worker gives beside its own while it has a rule for triage
FACT: Final = "up"  # what stands in it: 1 if triage is up


def triage_is_up(settings: Settings, now: float | None = None) -> bool:
    """Whether the worker lives, has a rule for triage whose engine is on, and lets no urgent case wait too long.

    May be called from any process of the node, often: it reads one small file.

    now: seconds since the epoch; the clock's if it is not given
    """
    return bool(signs.last(settings.node.state, PART, now=now).get(FACT, 0))
