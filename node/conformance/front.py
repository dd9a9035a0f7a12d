"""The front of the statement: overview, introduction, implementation model (PS3.2 N.1 to N.4)."""

from collections.abc import Iterator

from node.conformance import triage
from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.dicom import codes, maps, triage_codes
from node.dicom.classes import STORED_CLASSES, VERIFICATION

_FLOW = """```text
 modalities, PACS                        the node                               archives, workstations
 ----------------            ---------------------------------------            ----------------------
 C-STORE, STOW-RS   ------>  receive: bytes and record synced, then Success
 MPPS, IAN          ------>  assemble: complete by evidence
                             route: rules and the input gate
                             prepare, infer, check
                             derive: objects written and synced      ------>   C-STORE, STOW-RS, REST
 C-FIND, QIDO-RS    <------  what is there already, how many          ------>   Storage Commitment
```"""


def overview(facts: Facts) -> Section:
    """N.1: what a reader who has one minute has to know."""
    return Section(
        number="N.1",
        title="Conformance Statement Overview",
        text=(
            f"`{codes.PRODUCT}` {facts.version} stands beside a PACS. It receives CT and MR series, sends those that "
            "fit a rule through a neural network, and returns a derived series to the same study: labelled as derived, "
            "traceable to every source image, to the network and to its weights. It stores nothing for others and is "
            "no archive. **It is not a medical device**; its objects carry Content Qualification RESEARCH.",
        ),
        parts=(
            Section(
                title="Content and Transfer",
                text=(table(("SOP Class", "UID", "Received", "Created"), _classes(facts)),),
            ),
            Section(title="Services", text=(table(("Service", "Role", "In this configuration"), _services(facts)),)),
            Section(
                title="Character Sets",
                text=(
                    "Every Specific Character Set (0008,0005) of PS3.3 C.12.1.1.2 is received, code extensions "
                    "included; texts of the source pass into derived objects as the bytes that came, under the same "
                    "Specific Character Set. The node's own texts are ASCII (ISO_IR 6).",
                ),
            ),
            Section(title="Security", text=("Section N.8.",)),
        ),
    )


def introduction(facts: Facts) -> Section:
    """N.3: for whom, and what is not said."""
    return Section(
        number="N.3",
        title="Introduction",
        parts=(
            Section(
                title="Revision History",
                text=(
                    f"Printed by `imaging-node conformance`, version {facts.version}; it changes with the settings.",
                ),
            ),
            Section(
                title="Audience, Remarks",
                text=(
                    "For those who connect the node to other systems and know DICOM. Conformance alone does not "
                    "guarantee that two products work together: try it with your own data. The user of both "
                    "products is responsible for that validation.",
                ),
            ),
            Section(
                title="Terms and Abbreviations",
                text=(
                    "AE Application Entity; IAN Instance Availability Notification; MPPS Modality Performed Procedure "
                    "Step; PDU Protocol Data Unit; SCP, SCU Service Class Provider, User; SOP Service-Object Pair; "
                    "STOW-RS, QIDO-RS the Store and Search transactions of the Studies Service.",
                ),
            ),
            Section(
                title="References",
                text=("DICOM PS3, edition 2026b: <https://www.dicomstandard.org>. IHE AI Results is not claimed.",),
            ),
        ),
    )


def model(facts: Facts) -> Section:
    """N.4: which AE does what, and in which order."""
    return Section(
        number="N.4",
        title="Implementation Model",
        parts=(
            Section(title="Application Data Flow", text=(_FLOW,)),
            Section(
                title="Functional Definition of the Application Entity",
                text=(
                    f"One Application Entity, title `{facts.settings.receiver.ae_title}`. As SCP it answers a C-STORE "
                    "with Success only after bytes and record are synced to disk. Parsing that goes beyond a short "
                    "scan of the header, and all decoding, happens in child processes with limits. As SCU it delivers "
                    "derived objects, and keeps them until every destination has confirmed.",
                ),
            ),
            Section(
                title="Sequencing of Real-World Activities",
                text=(
                    "A series is complete, best evidence first: a peer says how many instances it has (C-FIND or "
                    "QIDO-RS 0020,1209, MPPS, IAN, an archive's stable event) and all are here; or the associations "
                    "that brought it were released and the slices lie evenly spaced; or "
                    f"{facts.settings.assemble.quiet_s:g} s of silence. Slices that come later make a new set, a new "
                    "job and a new derived series.",
                ),
            ),
        ),
    )


def _classes(facts: Facts) -> Iterator[tuple[str, str, str, str]]:
    yield "Verification", f"`{VERIFICATION}`", "-", "-"
    modalities = {codes.OUTPUTS[pipeline.gives.kind].modality for pipeline in facts.pipelines.values()}
    made = {codes.CLASSIC[modality] for modality in modalities}
    if any(destination.enhanced for destination in facts.settings.destinations):
        made |= {codes.ENHANCED[modality] for modality in modalities}
    made |= triage.created(facts)
    known = set(STORED_CLASSES)
    for uid, name in STORED_CLASSES.items():
        yield name, f"`{uid}`", "yes", "yes" if uid in made else "no"
    wanted = any(rule.map for rule in facts.settings.rules) or maps.FORM in facts.settings.worklist.forms
    yield maps.SOP_CLASS_NAME, f"`{maps.SOP_CLASS_UID}`", "no", "yes" if wanted else "no rule with `map = true`"
    for row in triage_codes.FORMS.values():
        if row.sop_class_uid not in known:
            known.add(row.sop_class_uid)
            yield row.sop_class_name, f"`{row.sop_class_uid}`", "no", "yes" if row.sop_class_uid in made else "no"


def _services(facts: Facts) -> Iterator[tuple[str, str, str]]:
    kinds = {destination.kind for destination in facts.settings.destinations}
    to_archives = "yes" if "dicom" in kinds else "no destination of kind dicom"
    asked = any(one.kind == "dicom" and one.commitment == "ask" for one in facts.settings.destinations)
    yield "Verification", "SCU, SCP", "yes"
    yield "Storage", "SCP", "yes"
    yield "Storage", "SCU", to_archives
    yield "Storage Commitment Push Model", "SCU", "yes" if asked else "no destination is asked"
    yield "Study Root Query (C-FIND)", "SCU", to_archives
    yield "Study Root Retrieve (C-MOVE, C-GET)", "SCU", to_archives
    believed = any(peer.evidence for peer in facts.settings.peers)
    yield "Modality Performed Procedure Step", "SCP", "yes" if believed else "no peer's word counts"
    yield "Instance Availability Notification", "SCP", "yes" if believed else "no peer's word counts"
    yield "Studies Service, Store (STOW-RS)", "origin server", "yes" if facts.settings.stow else "not open"
    yield "Studies Service, Store (STOW-RS)", "user agent", "yes" if "dicomweb" in kinds else "no such destination"
    yield "Studies Service, Search (QIDO-RS)", "user agent", "yes" if "dicomweb" in kinds else "no such destination"
