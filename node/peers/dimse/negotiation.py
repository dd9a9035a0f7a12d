"""Asking for an association, by pynetdicom's PDUs (PS3.8 9.3.2 to 9.3.4, PS3.7 D.3.3)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import negotiate_as_requestor

from node.peers.carrier import Unreachable
from node.peers.dimse.connect import Address

MAXIMUM_PDU: Final = 131_072  # what the node takes as requestor
FIX: Final = "Check host, port and AE titles of the destination."
MOST_CONTEXTS: Final = 128  # PS3.8 9.3.2.2: odd numbers of one byte
_APPLICATION_CONTEXT: Final = UID("1.2.840.10008.3.1.1.1")
# What a peer can make of a bad PDU in pynetdicom's hands; every one of them means the same to the node.
_UNREADABLE: Final = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError, OverflowError, AssertionError,
    struct.error,
)  # fmt: skip


class NoContext(Unreachable):
    """The peer answered, but took none of the presentation contexts."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One presentation context. `as_scp`: the node would be SCP of this class, not SCU (PS3.7 D.3.3.4)."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    as_scp: bool = False


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A presentation context that the peer took, and whether the node may be SCP in it."""

    abstract_syntax: str
    transfer_syntax: str
    as_scp: bool


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What came of a negotiation. `maximum_pdu`: bytes that the peer takes in one PDU; 0: any number."""

    accepted: dict[int, Accepted]
    maximum_pdu: int


def request(address: Address, proposals: Sequence[Proposal]) -> bytes:
    """The A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = address.calling_ae, address.called_ae
    primitive.presentation_context_definition_list = _contexts(proposals)
    length = MaximumLengthNotification()
    length.maximum_length_received = MAXIMUM_PDU
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(address.implementation_uid)
    information: list[Any] = [length, implementation]
    for sop_class in sorted({proposal.abstract_syntax for proposal in proposals if proposal.as_scp}):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = UID(sop_class), False, True
        information.append(role)
    primitive.user_information = information
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def answer(kind: int, body: bytes, proposals: Sequence[Proposal], *, purpose: str) -> Agreement:
    """What the peer's answer, a PDU of type `kind`, says. Raises Unreachable."""
    head = bytes((kind, 0)) + len(body).to_bytes(4, "big")
    try:
        if kind == 2:
            return _agreement(head + body, proposals)
        if kind == 3:
            rejected = A_ASSOCIATE_RJ()
            rejected.decode(head + body)
            why: Any = rejected.to_primitive()
            text = f"{why.result_str}: {why.reason_str}"
            raise Unreachable(f"{purpose}: the peer rejected the association ({text}).", fix=FIX)
    except _UNREADABLE as error:
        raise Unreachable(f"{purpose}: the peer's answer to the association request cannot be read.") from error
    if kind == 7:
        raise Unreachable(f"{purpose}: the peer aborted the association.", fix=FIX)
    raise Unreachable(f"{purpose}: the peer answered with PDU type {kind}; it does not speak DICOM there.", fix=FIX)


def _contexts(proposals: Sequence[Proposal]) -> list[Any]:
    if len(proposals) > MOST_CONTEXTS:
        raise ValueError(f"{len(proposals)} presentation contexts; an association has {MOST_CONTEXTS}")
    contexts = []
    for number, proposal in enumerate(proposals):
        context = build_context(proposal.abstract_syntax, list(proposal.transfer_syntaxes))
        context.context_id = 2 * number + 1
        if proposal.as_scp:
            context.scu_role, context.scp_role = False, True
        contexts.append(context)
    return contexts


def _agreement(pdu: bytes, proposals: Sequence[Proposal]) -> Agreement:
    accepted = A_ASSOCIATE_AC()
    accepted.decode(pdu)
    primitive = accepted.to_primitive()
    roles: dict[UID, tuple[bool | None, bool | None]] = {}
    maximum = 0
    for item in primitive.user_information:
        if isinstance(item, MaximumLengthNotification):
            maximum = int(item.maximum_length_received or 0)
        elif isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid is not None:
            roles[item.sop_class_uid] = (bool(item.scu_role), bool(item.scp_role))
    found = negotiate_as_requestor(_contexts(proposals), primitive.presentation_context_definition_results_list, roles)
    return Agreement(
        accepted={
            int(context.context_id or 0): Accepted(
                abstract_syntax=str(context.abstract_syntax),
                transfer_syntax=str(context.transfer_syntax[0]),
                as_scp=bool(context.as_scp),
            )
            for context in found
            if context.result == 0
        },
        maximum_pdu=maximum,
    )
