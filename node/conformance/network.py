"""Configuration, network details, security (PS3.2 N.6 to N.8)."""

import ssl
from collections.abc import Iterator

from pydantic import BaseModel
from pydicom.uid import UID

from node.conformance import ups
from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.dicom import codes
from node.dicom.classes import DOCUMENT_CLASSES, DOCUMENT_SYNTAXES, STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from node.peers.dimse import commitment
from node.peers.dimse import evidence as dimse_evidence
from node.peers.tls import SUITES
from node.settings import Settings


def configuration(facts: Facts) -> Section:
    """N.6: every setting with its value; files are named, their content never."""
    return Section(
        number="N.6",
        title="Configuration",
        text=(
            "One TOML file, checked whole before a port opens; unknown keys stop the start. Rules, kernels and "
            "networks are described in the site's own documents.",
            table(("Setting", "Value here", "Default"), _settings(facts.settings)),
        ),
    )


def network(facts: Facts) -> Section:
    """N.7: presentation contexts, PDUs, associations, identifiers."""
    receiver = facts.settings.receiver
    return Section(
        number="N.7",
        title="Network and Media Communication Details",
        parts=(
            Section(
                title="Implementation Identification",
                text=(
                    table(
                        ("What", "Value"),
                        (
                            ("Implementation Class UID", f"`{codes.IMPLEMENTATION_CLASS_UID}`"),
                            ("Application Context", "`1.2.840.10008.3.1.1.1`"),
                        ),
                    ),
                ),
            ),
            Section(
                title="Association Acceptance",
                text=(
                    table(
                        ("What", "Value"),
                        (
                            ("Called AE title", f"`{receiver.ae_title}`; any other is rejected (1, 1, 7)"),
                            ("Calling AE titles", "those in the table below, from the addresses there; else (1, 1, 3)"),
                            ("Associations at once", receiver.maximum_associations),
                            ("of one address", receiver.maximum_associations_per_address),
                            ("beyond either", "rejected transient, local limit exceeded (2, 3, 2)"),
                            ("Maximum PDU received", f"{receiver.maximum_pdu_bytes} bytes"),
                            ("Asynchronous operations", "not negotiated: one operation at a time"),
                            ("Extended negotiation, User Identity", "not supported; ignored"),
                            ("Association request within", f"{receiver.request_timeout_s:g} s of the connection"),
                            ("One PDU within", f"{receiver.pdu_timeout_s:g} s"),
                            ("Silence within an association", f"{receiver.network_timeout_s:g} s, then A-ABORT"),
                            ("Largest data set", f"{receiver.maximum_instance_mb} MiB"),
                        ),
                    ),
                    table(("Peer", "AE title", "Addresses", "Certificate subject"), _peers(facts.settings)),
                ),
            ),
            Section(
                title="Presentation Contexts accepted",
                text=(
                    "Of the transfer syntaxes that a peer proposes, the first in this order is accepted. Lossy "
                    "compression is not.",
                    table(("Transfer syntax", "UID"), ((name, f"`{uid}`") for uid, name in TRANSFER_SYNTAXES.items())),
                    table(
                        ("Abstract syntax", "UID", "Transfer syntaxes", "Role of the peer"), _contexts(facts.settings)
                    ),
                ),
            ),
            Section(
                title="Association Initiation",
                text=(
                    table(
                        ("Destination", "Kind", "Peer", "Time-outs", "TLS"),
                        _destinations(facts.settings),
                    ),
                    "Proposed for storage: one context for each SOP class to be sent, Explicit VR Little Endian and "
                    "Implicit VR Little Endian. An association carries one job; at most two at a time go to one "
                    "destination.",
                    "Proposed to subscribers of the worklist: UPS Event, the same two transfer syntaxes, the role of "
                    "the SCP for the node. An association carries up to 100 reports.",
                ),
            ),
            Section(title="Media", text=("No media application profile is supported.",)),
        ),
    )


def security(facts: Facts) -> Section:
    """N.8: who may connect, and how that is proven."""
    tls = facts.settings.receiver.tls
    offered = "No port with TLS is open in this configuration."
    if tls is not None:
        offered = (
            f"Port {tls.port} takes TLS {tls.minimum} or newer only; a client must show a certificate of the site's "
            "CA, and its common name or a subject alternative name must be the one that its AE title is bound to."
        )
    return Section(
        number="N.8",
        title="Security",
        parts=(
            Section(
                title="Secure Transport Connection Profile",
                text=(
                    "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12), mutual "
                    "certificates: supported for every DICOM listener and destination.",
                    offered,
                    "Suites: " + ", ".join(f"`{name}`" for name in _suites()) + ".",
                ),
            ),
            Section(
                title="Access",
                text=(
                    "A peer is known by AE title and address together, on the TLS port by the subject of its "
                    "certificate besides. No user identity, no automatic trust. Nothing that a peer sends names a "
                    "file, a metric or a log entry.",
                    "The port without TLS is "
                    + (
                        "open: it protects nothing on its way."
                        if facts.settings.receiver.opens_plain
                        else "closed in this configuration."
                    ),
                ),
            ),
            Section(title="Audit Trail", text=("No Audit Trail Profile is claimed. Events are kept in the records.",)),
        ),
    )


def _settings(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in ("rules", "kernels"):
            continue
        tables = value if isinstance(value, tuple) else (value,)
        for table_value in tables:
            if isinstance(table_value, BaseModel):
                label = f"{name}.{table_value.name}" if hasattr(table_value, "name") else name
                yield from _keys(table_value, label)
            elif table_value is None:
                yield name, "not set", _shown(field.default)


def _keys(part: BaseModel, label: str) -> Iterator[tuple[str, str, str]]:
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{label}.{key}")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for place, one in enumerate(value, start=1):
                yield from _keys(one, f"{label}.{key}[{place}]")
        else:
            yield f"`{label}.{key}`", _shown(value), "(required)" if field.is_required() else _shown(field.default)


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value) or "none"
    return str(value)


def _peers(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    for peer in settings.peers:
        yield peer.name, f"`{peer.ae_title}`", ", ".join(peer.addresses), peer.subject or "none: TLS port closed to it"


def _contexts(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    yield "Verification", f"`{VERIFICATION}`", "Implicit VR LE, Explicit VR LE", "SCU"
    for uid, name in STORAGE_CLASSES.items():
        yield name, f"`{uid}`", "all of the table above", "SCU"
    for uid, name in DOCUMENT_CLASSES.items():
        yield name, f"`{uid}`", ", ".join(TRANSFER_SYNTAXES[one] for one in DOCUMENT_SYNTAXES), "SCU"
    for context in (*commitment.CONTEXTS, *dimse_evidence.CONTEXTS, *ups.contexts(settings)):
        yield (
            UID(context.abstract_syntax).name,
            f"`{context.abstract_syntax}`",
            ", ".join(TRANSFER_SYNTAXES[uid] for uid in context.transfer_syntaxes),
            "SCP, by role selection" if context.scp_role else "SCU",
        )


def _destinations(settings: Settings) -> Iterator[tuple[str, str, str, str, str]]:
    for one in settings.destinations:
        if one.kind == "dicom":
            peer = f"`{one.ae_title}` at {one.host}:{one.port}"
            times = f"connection {one.connect_timeout_s:g} s, answer {one.response_timeout_s:g} s"
            yield one.name, one.kind, peer, times, "mutual" if one.tls else "no"
        else:
            yield one.name, one.kind, str(getattr(one, "url", "")) or "files", "see N.6", "see N.6"


def _suites() -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(SUITES)
    return [cipher["name"] for cipher in context.get_ciphers()]
