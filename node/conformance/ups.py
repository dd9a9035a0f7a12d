"""What the statement says of the worklist: Unified Procedure Step as SCP (PS3.4 CC.4.2)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.peers.dimse import ups
from node.peers.dimse.service import Context
from node.settings import Settings
from node.worklist.ups_attributes import ATTRIBUTES
from node.worklist.ups_status import Status

STATUSES: Final[Mapping[Status, tuple[str, str]]] = MappingProxyType(
    {
        Status.SUCCESS: ("all", "done, and synced to disk"),
        Status.NOT_ALL: ("N-GET, N-SET", "attributes that a workitem does not have, or that are not kept, were named"),
        Status.INVALID_VALUE: ("N-CREATE, N-SET", "a value that may not be, or an attribute that may not be set"),
        Status.PROCESSING_FAILURE: ("N-*", "a fault of the node; its log says which"),
        Status.DUPLICATE: ("N-CREATE", "the SOP Instance UID is taken"),
        Status.INVALID_ARGUMENT: ("N-ACTION", "Procedure Step State or Deletion Lock is none of its values"),
        Status.INVALID_OBJECT: ("N-CREATE", "Affected SOP Instance UID is missing or no UID"),
        Status.NO_SUCH_CLASS: ("N-*", "the SOP class is none of Unified Procedure Step"),
        Status.MISSING_ATTRIBUTE: (
            "N-*",
            "no data set, an attribute of type 1 or a code's value or meaning is missing",
        ),
        Status.MISSING_VALUE: ("N-CREATE, N-SET", "an attribute of type 1 has no value"),
        Status.NO_SUCH_ACTION: ("N-ACTION", "another Action Type ID than 1 to 5"),
        Status.NOT_AUTHORISED: ("all", "`worklist.ups` does not let this AE title do that"),
        Status.RESOURCE_LIMIT: ("N-*", "the data set or the list is too large, or the disk is full"),
        Status.OUT_OF_RESOURCES: ("C-FIND", "a fault of the node; its log says which"),
        Status.BAD_IDENTIFIER: ("C-FIND", "the identifier cannot be read, or a key has a value that it may not have"),
        Status.MODIFIED: ("N-CREATE", "Worklist Label or a request's study was filled in, or something is not kept"),
        Status.NO_LOCK: ("N-ACTION 3", "subscribed without a deletion lock (`worklist.ups.deletion_locks`)"),
        Status.ALREADY_CANCELED: ("N-ACTION 1, 2", "the workitem is CANCELED already"),
        Status.COERCED: ("N-SET", "LOW became MEDIUM on a workitem of the node"),
        Status.ALREADY_COMPLETED: ("N-ACTION 1", "the workitem is COMPLETED already"),
        Status.FINAL: ("N-ACTION 1, N-SET", "the workitem has ended"),
        Status.WRONG_TRANSACTION: ("N-ACTION 1, N-SET", "Transaction UID is missing or not that of the claim"),
        Status.ALREADY_IN_PROGRESS: ("N-ACTION 1", "the workitem is claimed, by whomever"),
        Status.NEVER_SCHEDULED: ("N-ACTION 1, N-SET", "SCHEDULED was asked for"),
        Status.NOT_READY_FOR_END: ("N-ACTION 1", "UPS Performed Procedure lacks what COMPLETED needs"),
        Status.UNKNOWN: ("N-*", "no such workitem; also the UID of filtered subscriptions, which are not offered"),
        Status.UNKNOWN_RECEIVER: ("N-ACTION 3 to 5", "the settings have no address of the Receiving AE"),
        Status.NOT_SCHEDULED: ("N-CREATE", "Procedure Step State is not SCHEDULED"),
        Status.NOT_IN_PROGRESS: ("N-ACTION 1, N-SET", "the workitem is SCHEDULED"),
        Status.COMPLETED: ("N-ACTION 2", "the workitem is COMPLETED"),
        Status.NOT_REACHED: ("N-ACTION 2", "it is claimed, and nobody has subscribed to it"),
        Status.NOT_FOR_THIS: ("N-ACTION 5", "another instance than that of global subscriptions"),
        Status.CANCEL: ("C-FIND", "C-CANCEL came"),
        Status.PENDING: ("C-FIND", "a workitem that fits"),
        Status.PENDING_NOT_ALL: ("C-FIND", "the same; a key is no attribute of a workitem, or is never matched"),
    }
)


def contexts(settings: Settings) -> tuple[Context, ...]:
    """The presentation contexts of the worklist, where there is one."""
    return ups.CONTEXTS if settings.worklist.ups.enabled else ()


def service(facts: Facts) -> Section:
    """The part of N.5 on the worklist."""
    settings = facts.settings.worklist.ups
    if not settings.enabled:
        return Section(title="Unified Procedure Step as SCP", text=("Not offered in this configuration.",))
    matched = ", ".join(row.keyword for row in ATTRIBUTES.values() if row.matches)
    called = [peer.name for peer in facts.settings.peers if peer.host is not None]
    unclaimed = (
        "never"
        if settings.unclaimed_days == "never"
        else f"CANCELED by the node after {settings.unclaimed_days:g} days"
    )
    return Section(
        title="Unified Procedure Step as SCP",
        text=(
            "Push, Pull, Watch, Event and Query. Every operation is taken on any accepted context of the five; what a "
            "peer may do depends on its AE title. A change is durable before it is answered, and the list is the same "
            "at every process of the node.",
            table(
                ("May", "AE titles"),
                (
                    ("claim, report, end, ask for cancellation", _titles(settings.claim)),
                    ("look and subscribe only", _titles(settings.watch)),
                    ("create, change what is SCHEDULED, ask for cancellation", _titles(settings.create)),
                ),
            ),
            "**Order of C-FIND.** The standard defines none. Here, what could not be analysed comes first, then the "
            f"time of arrival less a credit of at most {facts.settings.worklist.credit_minutes:g} minutes, by whole "
            "minutes, then arrival. The credit of a triaged study comes from its score, that of another workitem from "
            "its priority (HIGH + all of it, MEDIUM 0, LOW - all of it); its time is its Scheduled Procedure Step "
            "Start DateTime. While triage is down its studies have no credit: they come in order of arrival. "
            "**Clients should sort by themselves** and not depend on it. C-FIND priority is ignored, and no further "
            "filter is applied.",
            f"Matched: SOPClassUID, SOPInstanceUID, {matched}; with single values, lists of UIDs, wildcards, ranges "
            "and sequences with one item. Names match in any letter case, each of their groups; fuzzy matching is not "
            "negotiated. Times without an offset are the node's local ones, or in Timezone Offset From UTC of the "
            "identifier. Answers are in the identifier's Specific Character Set if that has all characters, else in "
            "that in which the workitem came, else in ISO_IR 192; without a set where all is ASCII.",
            "**Workitems of the node.** One for each study that a rule triages, from its routing on: priority MEDIUM, "
            "HIGH when the flag is raised, never LOW; Workitem Code (110005, DCM, Interpretation); Input Information "
            "with each triaged series and the AE that has it; patient and request as in the images. SOP Instance UIDs "
            "are computed (annex E). The verdict changes priority, label, comment and place while it is SCHEDULED, and "
            "a State Report goes to subscribers; what is claimed is not touched. A flag after its end makes a further "
            "workitem, any other verdict does not. The node performs no workitem.",
            "At creation, attributes of type 2 that are missing are added without a value; Transaction UID, Progress "
            "Information and Performed Procedure are emptied; private and binary attributes are not kept. At CANCELED, "
            "Procedure Step Cancellation DateTime and (110513, DCM, Discontinued for unspecified reason) are filled in "
            "where the performer did not say. No subscription is made by creating.",
            f"Kept after its end: {settings.keep_days:g} days, or while a deletion lock holds, {settings.lock_days:g} "
            f"days at most. Deletion locks: {'granted' if settings.deletion_locks else 'not granted (B301)'}. What "
            f"nobody claims: {unclaimed}.",
            "**Events** 1 to 5 go to subscribers on associations that the node opens, in the order in which things "
            "happened; kept until they are answered, tried again after 1 s to 5 min, given up after a day. SCP Status "
            "Change (RESTARTED, both lists WARM START) at every start of the node, also to "
            f"{_titles(settings.status_to)}. Peers that can be called: {', '.join(called) or 'none'}.",
            table(
                ("Status", "Operation", "When"),
                ((f"{status:04X}", *STATUSES[status]) for status in Status),
            ),
        ),
    )


def _titles(titles: tuple[str, ...]) -> str:
    return ", ".join("every peer" if title == "*" else f"`{title}`" for title in titles) or "nobody"
