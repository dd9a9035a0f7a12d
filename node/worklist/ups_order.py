"""In which order workitems are to be read."""

from collections.abc import Iterable

from node.records.workitems import Item
from pipelines.queue_rule import rank


def ordered(items: Iterable[Item], *, up: bool) -> list[Item]:
    """Sorted by the queue rule, the next one to be read first; the same on every call.

    up: whether triage works; if not, by arrival
    """
    return sorted(items, key=lambda one: (*rank(one.first, one.queued_at, one.credit_s, up), one.uid))
