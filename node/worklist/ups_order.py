"""In which order workitems are to be read."""

from collections.abc import Iterable

from node.records.workitems import Item
from pipelines.queue_rule import rank


def ordered(items: Iterable[Item], *, up: bool) -> list[Item]:
    """Sorted by the queue rule, the next one to be read first; the same on every call.

    up: whether triage works; if not, what it said moves nothing: the node's own are in order of arrival. The priority
        that a peer gave its workitem is no word of the triage's and holds all the same
    """

    def place(one: Item) -> tuple[int, float, float, str]:
        if up or not one.is_own:
            return (*rank(one.first, one.queued_at, one.credit_s, up=True), one.uid)
        return (*rank(False, one.queued_at, 0.0, up=True), one.uid)

    return sorted(items, key=place)
