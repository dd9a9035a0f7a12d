"""In which order workitems are to be read, and which of them are the node's own."""

from collections.abc import Iterable

from node.dicom.uids import duid
from node.records.workitems import Item
from pipelines.queue_rule import credit_of_priority_s as credit_of_priority_s
from pipelines.queue_rule import rank


def ordered(items: Iterable[Item], *, up: bool) -> list[Item]:
    """Sorted by the queue rule, the next one to be read first; the same on every call.

    up: whether triage works; if not, by arrival
    """
    return sorted(items, key=lambda one: (*rank(one.first, one.queued_at, one.credit_s, up), one.uid))


def own_uid(study_uid: str, job_id: str = "") -> str:
    """SOP Instance UID of the node's workitem for a study; of a further one, which a verdict asked for by its job."""
    return duid("workitem", study_uid, job_id)


def is_own(item: Item) -> bool:
    """Whether the node made it, and not a peer."""
    return item.job_id is not None or item.uid == own_uid(item.study_uid)
