"""Each service with its roles, statuses and time-outs (PS3.2 N.5)."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from node.conformance import ups
from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.dicom import codes
from node.intake.incoming import Status
from node.peers.carrier import Fate
from node.peers.dimse import evidence as dimse_evidence
from node.peers.dimse.carrier import fate_of
from node.settings import DicomDestination, DicomwebDestination, OrthancDestination

MEANINGS: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.SUCCESS: "bytes and record are synced to disk, never earlier; also an identical instance that is here",
        Status.INTERNAL_FAILURE: "a fault of the node; its log says which",
        Status.BAD_UID: "Affected SOP Instance UID is not a UID",
        Status.CLASS_UNSUPPORTED: "Affected SOP Class is none of those accepted",
        Status.OUT_OF_RESOURCES: "less disk space than the reserve, or the disk failed; never for content",
        Status.MISMATCH: "SOP Class or Instance UID differs from the command's, or a mandatory UID is missing",
        Status.UNREADABLE: "the data set cannot be walked to its end within the limits of the header scan",
        Status.CONFLICT: "another object has this SOP Instance UID; the new one is quarantined, the first one stays",
        Status.BAD_SERIES_UID: "Study or Series Instance UID is not a UID",
        Status.TOO_LARGE: "the data set is larger than receiver.maximum_instance_mb",
        Status.SYNTAX_UNSUPPORTED: "STOW-RS only: a transfer syntax that an association would not have accepted",
    }
)
EVIDENCE: Final[Mapping[dimse_evidence.Status, str]] = MappingProxyType(
    {
        dimse_evidence.Status.SUCCESS: "kept and synced",
        dimse_evidence.Status.INVALID_VALUE: "an attribute has a value that it may not have",
        dimse_evidence.Status.PROCESSING_FAILURE: "a fault of the node, or the step is final already (A710)",
        dimse_evidence.Status.DUPLICATE: "the step or notification is here already",
        dimse_evidence.Status.NO_SUCH_INSTANCE: "N-SET for a step that was never created",
        dimse_evidence.Status.INVALID_OBJECT: "Affected SOP Instance UID is not a UID",
        dimse_evidence.Status.MISSING_ATTRIBUTE: "an attribute that is needed is missing",
        dimse_evidence.Status.NOT_AUTHORISED: "the settings do not take this peer's word (peers.evidence)",
        dimse_evidence.Status.RESOURCE_LIMIT: "the data set is too large or names too many instances",
    }
)
_HTTP_STORE: Final = (
    (200, "all instances stored"),
    (202, "some stored; Failed SOP Sequence (0008,1198) says which were not, and why"),
    (400, "the body is no multipart/related message of the kind it says it is"),
    (401, "no token, or an unknown one"),
    (403, "the client's certificate is none that the settings name"),
    (405, "another method than POST"),
    (409, "no instance could be stored; Failed SOP Sequence says why"),
    (413, "the body, or the number of its parts, is beyond the limit"),
    (415, "another media type than application/dicom, or a content coding"),
    (503, "too many requests at once"),
    (507, "no disk space"),
)
_TRIED: Final = (0x0000, 0x0111, 0xB000, 0xB006, 0xB007, 0x0110, 0x0122, 0x0124, 0x0210, 0x0213, 0xA700, 0xA900, 0xC000)


def services(facts: Facts) -> Section:
    """N.5: what a peer may ask of the node, and what the node asks of peers."""
    parts = (
        Section(
            title="Verification",
            text=(
                "As SCP: C-ECHO is answered 0000. As SCU: `imaging-node check`, and a probe of silent destinations.",
            ),
        ),
        _storage_scp(),
        _storage_scu(facts),
        _commitment(facts),
        _query(facts),
        _evidence(facts),
        ups.service(facts),
        _web(facts),
    )
    return Section(number="N.5", title="Service and Interoperability Description", parts=parts)


def _storage_scp() -> Section:
    return Section(
        title="Storage as SCP",
        text=(
            "Level 2 (full) storage, no attribute is coerced, so B000, B006 and B007 are never sent. Bytes are kept as "
            "they came, with a preamble of zeros. An instance that no rule takes is stored with success all the same.",
            table(("Status", "When"), ((f"{status:04X}", MEANINGS[status]) for status in Status)),
            "Duplicates: an identical object is answered 0000 and kept once. The same pixels with another header or "
            "encoding: 0000, the first one stays. Other pixels, another patient, study or series: C001.",
            "Received objects are kept until their results are delivered and the time of the settings has passed. The "
            "node is no archive and offers no Storage Commitment as SCP.",
        ),
    )


def _storage_scu(facts: Facts) -> Section:
    return Section(
        title="Storage as SCU",
        text=(
            "Derived objects are written once, synced, and these bytes are sent until every destination has confirmed "
            "them; an instance without a known answer is looked for at the archive first (C-FIND at IMAGE level) and "
            "sent again under the same UID only if it is not there.",
            table(("Status received", "What follows"), ((f"{code:04X}", _follows(fate_of(code))) for code in _TRIED)),
            table(
                ("Destination", "Form of results from Enhanced sources", "Synthetic images", "Given up after"),
                (
                    (
                        one.name,
                        "Enhanced" if one.enhanced else "classic",
                        "taken" if one.synthetic else "never sent",
                        f"{one.retry_hours:g} h",
                    )
                    for one in facts.settings.destinations
                ),
            ),
            f"Images of the kinds {', '.join(sorted(codes.SYNTHESIS))} (annex A) go only to destinations that say that "
            "they take synthetic images: a rule that sends them elsewhere keeps the node from starting, and a result "
            "made before the setting changed stays with the node as a dead letter.",
        ),
    )


def _follows(fate: Fate) -> str:
    return {
        Fate.TAKEN: "delivered",
        Fate.LATER: "sent again later",
        Fate.NEVER: "counts as refused; after three such attempts a dead letter that a person replays",
    }[fate]


def _commitment(facts: Facts) -> Section:
    asked = [
        one for one in facts.settings.destinations if isinstance(one, DicomDestination) and one.commitment == "ask"
    ]
    return Section(
        title="Storage Commitment as SCU",
        text=(
            "Push Model, after all instances of a job were answered. N-EVENT-REPORT is taken on the same association "
            "and on one that the archive opens to the node, proposing the SCP role. Failed instances are sent again "
            "unchanged, and asked for again. An archive without the service is asked by C-FIND at IMAGE level.",
            table(
                ("Destination", "Waits on the association", "Asks again after"),
                (
                    (
                        one.name,
                        f"{one.commitment_wait_s:g} s",
                        ", ".join(f"{hours:g} h" for hours in one.commitment_retry_hours),
                    )
                    for one in asked
                ),
            ),
        ),
    )


def _query(facts: Facts) -> Section:
    return Section(
        title="Query and Retrieve as SCU",
        text=(
            "C-FIND, Study Root: at IMAGE level for Study, Series and SOP Instance UID; at SERIES level for Number of "
            "Series Related Instances (0020,1209)"
            + (f", asked of `{facts.settings.assemble.ask}`." if facts.settings.assemble.ask else "; not configured."),
            "C-MOVE to the node itself and C-GET, Study Root, when a person asks (`imaging-node fetch`). Retrieved "
            "objects take the way of every received one.",
        ),
    )


def _evidence(facts: Facts) -> Section:
    believed = [peer.name for peer in facts.settings.peers if peer.evidence]
    return Section(
        title="Modality Performed Procedure Step, Instance Availability Notification as SCP",
        text=(
            "Evidence that a series is complete: which instances it has. Kept before it is answered, never displayed "
            f"or handed on. Peers whose word counts: {', '.join(believed) or 'none in this configuration'}.",
            table(("Status", "When"), ((f"{status:04X}", EVIDENCE[status]) for status in dimse_evidence.Status)),
        ),
    )


def _web(facts: Facts) -> Section:
    return Section(
        title="Web Services",
        text=(
            "As origin server: Store (STOW-RS, PS3.18 10.5) of application/dicom at `/studies` and `/studies/{study}`. "
            + ("Not open in this configuration." if facts.settings.stow is None else "Open, see N.6."),
            table(("Status", "When"), _HTTP_STORE),
            "As user agent: Store to destinations of kind dicomweb, Search (QIDO-RS) for what they hold; Orthanc's own "
            "REST interface to destinations and from sources of kind orthanc.",
            table(("Name", "Kind", "URL"), _called(facts)),
        ),
    )


def _called(facts: Facts) -> Iterator[tuple[str, str, str]]:
    for one in facts.settings.destinations:
        if isinstance(one, DicomwebDestination | OrthancDestination):
            yield one.name, f"destination, {one.kind}", one.url
    for source in facts.settings.sources:
        yield source.name, f"source, {source.kind}", source.url
