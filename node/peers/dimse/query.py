"""C-ECHO, and C-FIND for what a peer has (PS3.4 A and C)."""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from node.log import log
from node.peers.carrier import Broken, Unreachable
from node.peers.dimse.connect import Address
from node.peers.dimse.link import Aborted, Link, linked
from node.peers.dimse.message import NO_DATA_SET, PENDING, SUCCESS, Command, Field, Values
from node.peers.dimse.negotiation import NoContext, Proposal

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
_MOST_IDENTIFIER: Final = 1 << 20
_MOST_ANSWERS: Final = 200_000  # of one C-FIND
# What pydicom raises on an identifier that it cannot read.
_UNREADABLE: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError, EOFError)


def echo(address: Address) -> None:
    """C-ECHO. Raises Unreachable."""
    proposals = [Proposal(abstract_syntax=VERIFICATION, transfer_syntaxes=(IMPLICIT_LE,))]
    try:
        with linked(address, proposals, purpose="C-ECHO") as link:
            chosen = link.context(VERIFICATION)
            if chosen is None:
                raise Unreachable("C-ECHO: the peer does not offer it.")
            link.send(
                chosen[0],
                {
                    Field.AFFECTED_CLASS: VERIFICATION,
                    Field.COMMAND: Command.C_ECHO_RQ,
                    Field.MESSAGE_ID: link.next_id(),
                    Field.DATA_SET_TYPE: NO_DATA_SET,
                },
            )
            if link.receive().number(Field.STATUS) != SUCCESS:
                raise Unreachable("C-ECHO: the peer did not answer it with success.")
    except Broken as error:
        raise Unreachable(error.message) from error


def instances_there(address: Address, *, study_uid: str, series_uid: str) -> set[str] | None:
    """SOP Instance UIDs of a series at the peer, by C-FIND at IMAGE level; None if it offers no C-FIND."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = ""
    found = find(address, query)
    return None if found is None else {str(answer.SOPInstanceUID) for answer in found if "SOPInstanceUID" in answer}


def instances_related(address: Address, *, study_uid: str, series_uid: str) -> int | None:
    """Number of Series Related Instances (0020,1209) at the peer; None if it does not say."""
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.NumberOfSeriesRelatedInstances = ""
    counts = [answer.get("NumberOfSeriesRelatedInstances") for answer in find(address, query) or ()]
    return int(counts[0]) if len(counts) == 1 and counts[0] is not None else None


def find(address: Address, query: Dataset) -> list[Dataset] | None:
    """The answers to a C-FIND in the Study Root; None if the peer offers none or answers with a failure.

    raises: Unreachable, Broken
    """
    proposals = [Proposal(abstract_syntax=STUDY_ROOT_FIND, transfer_syntaxes=(EXPLICIT_LE, IMPLICIT_LE))]
    try:
        with linked(address, proposals, purpose="C-FIND") as link:
            return _find(link, query)
    except NoContext:
        return None
    except Aborted:
        # Orthanc stores for everybody, and ends the association of one whose questions it does not answer.
        log.warning("C-FIND not answered", status="A-ABORT")
        return None


def _find(link: Link, query: Dataset) -> list[Dataset] | None:
    chosen = link.context(STUDY_ROOT_FIND)
    if chosen is None:
        return None
    context, syntax = chosen
    implicit = syntax == IMPLICIT_LE
    message_id = link.next_id()
    request: Values = {
        Field.AFFECTED_CLASS: STUDY_ROOT_FIND,
        Field.COMMAND: Command.C_FIND_RQ,
        Field.MESSAGE_ID: message_id,
        Field.PRIORITY: 0,
        Field.DATA_SET_TYPE: 1,
    }
    link.send(context, request, encoded(query, implicit=implicit))
    answers: list[Dataset] = []
    for status, identifier in _answers(link, message_id):
        if status in PENDING and identifier:
            answers.append(decoded(identifier, implicit=implicit))
        elif status != SUCCESS:
            # An archive that stores for everybody may answer questions of a few only: no answer, not a fault.
            log.warning("C-FIND not answered", status=f"{status:#06x}")
            return None
    return answers


def _answers(link: Link, message_id: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(_MOST_ANSWERS):
        answer = link.receive()
        status = answer.number(Field.STATUS)
        identifier = link.data_set(_MOST_IDENTIFIER) if answer.has_data_set else b""
        if status is None or answer.number(Field.RESPONDED_TO) != message_id:
            raise Broken("C-FIND: the peer sent something else than an answer.")
        yield status, identifier
        if status not in PENDING:
            return
    raise Broken(f"C-FIND: more than {_MOST_ANSWERS} answers.")


def encoded(data_set: Dataset, *, implicit: bool) -> bytes:
    """A data set of ours as it goes on the wire."""
    data = encode(data_set, implicit, True)
    if data is None:
        raise ValueError("a data set of ours cannot be encoded")
    return data


def decoded(data: bytes, *, implicit: bool) -> Dataset:
    """A small data set of the peer, decoded whole. Raises Broken."""
    try:
        found = decode(BytesIO(data), implicit, True)
        for _ in found.iterall():  # decodes every value: what is broken breaks here
            pass
    except _UNREADABLE as error:
        raise Broken("The peer sent a data set that cannot be read.") from error
    return found
