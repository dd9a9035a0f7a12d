"""The node as SCU, by pynetdicom: C-ECHO, C-STORE of files, C-FIND for what a peer already has."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from node.log import log
from node.peers.carrier import Broken, Unreachable

_config.STORE_SEND_CHUNKED_DATASET = True  # from the file to the wire; the data set is not decoded
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
_PARK_S: Final = 5.0  # the reactor comes by every millisecond
_PENDING: Final = frozenset({0xFF00, 0xFF01})


class NoContext(Unreachable):
    """The peer answered, but took none of the presentation contexts."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Whom to call, as whom, and how long to wait."""

    host: str
    port: int
    called_ae: str
    calling_ae: str
    connect_s: float
    response_s: float
    implementation_uid: str


@contextmanager
def association(
    address: Address, contexts: Sequence[tuple[str, Sequence[str]]], *, purpose: str
) -> Iterator[Association]:
    """An established association, released at the end. Raises Unreachable or NoContext, naming why."""
    ae = AE(ae_title=address.calling_ae)
    ae.implementation_class_uid = address.implementation_uid
    ae.connection_timeout = ae.acse_timeout = address.connect_s
    # A short response time-out: a peer that stalls costs one retry, and confirmed instances are never sent again.
    ae.dimse_timeout = ae.network_timeout = address.response_s
    for abstract, syntaxes in contexts:
        ae.add_requested_context(abstract, list(syntaxes))
    connected: list[Any] = []
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, _no_delay), (evt.EVT_CONN_OPEN, connected.append)]
    try:
        opened = ae.associate(address.host, address.port, ae_title=address.called_ae, evt_handlers=handlers)
    except (OSError, RuntimeError, ValueError) as error:
        raise Unreachable(f"{purpose}: {type(error).__name__} at {address.host}:{address.port}.") from error
    if not opened.is_established and opened.rejected_contexts:
        raise NoContext(f"{purpose}: the peer took none of the presentation contexts.", fix="See its SOP classes.")
    if not opened.is_established:
        why = _why_not(opened) if connected else f"no connection to {address.host}:{address.port}"
        raise Unreachable(f"{purpose}: {why}.", fix="Check host, port and AE titles of the destination.")
    try:
        with _reactor_parked(opened):
            yield opened
    finally:
        if opened.is_established:
            opened.release()


class _Gate(threading.Event):
    """Stands in for pynetdicom's reactor checkpoint: `send_*` may set and clear it as they like, nothing passes."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        """Nothing: `open` is what opens."""

    def open(self) -> None:
        super().set()


@contextmanager
def _reactor_parked(opened: Association) -> Iterator[None]:
    """Keep pynetdicom's reactor thread away from the answers for as long as this side alone speaks.

    pynetdicom 3.0.4 pauses that thread for each message and lets it go afterwards. Between its `wait()` and the line
    behind, it counts as paused while it runs on: it can take the next answer off the queue and drop it, and the sender
    waits for its whole time-out. Parked once, it cannot.
    """
    usual = opened._reactor_checkpoint
    gate = _Gate()
    opened._reactor_checkpoint = gate
    try:
        gate.reached.wait(_PARK_S)
        yield
    finally:
        opened._reactor_checkpoint = usual
        gate.open()


def _no_delay(event: Any) -> None:  # pynetdicom types its events too loosely to follow
    # Nagle's algorithm and delayed acknowledgements would cost 40 ms an instance (THROUGHPUT).
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why_not(failed: Association) -> str:
    if failed.is_rejected:
        answer: Any = failed.acceptor.primitive
        return f"the peer rejected the association ({answer.result_str}: {answer.reason_str})"
    if failed.is_aborted:
        return "the peer aborted the association"
    return "the peer did not answer the association request"


def echo(address: Address) -> None:
    """C-ECHO. Raises Unreachable."""
    with association(address, [(VERIFICATION, [IMPLICIT_LE])], purpose="C-ECHO") as opened:
        status = opened.send_c_echo()
        if status is None or "Status" not in status or status.Status != 0x0000:
            raise Unreachable("C-ECHO: the peer did not answer it with success.")


def send(
    address: Address,
    files: Sequence[tuple[str, Path]],
    *,
    before: Callable[[int], None],
    answered: Callable[[int, int], bool],
) -> None:
    """C-STORE files over one association, in order.

    files:    (SOP Class UID, Part 10 file in Explicit or Implicit VR Little Endian)
    before:   called with the index of a file just before it goes on the wire
    answered: called with index and status of each answer; False ends the association early
    raises:   Unreachable before the first file, Broken after it
    """
    classes = sorted({sop_class for sop_class, _ in files})
    contexts = [(sop_class, [EXPLICIT_LE, IMPLICIT_LE]) for sop_class in classes]
    with association(address, contexts, purpose="C-STORE") as opened:
        accepted = {str(c.abstract_syntax): str(c.transfer_syntax[0]) for c in opened.accepted_contexts}
        for index, (sop_class, path) in enumerate(files):
            if sop_class not in accepted:
                if not answered(index, 0x0122):  # SOP class not supported: the peer said so in the negotiation
                    return
                continue
            before(index)
            body: Dataset | Path = path if accepted[sop_class] == EXPLICIT_LE else dcmread(path)
            try:
                status = opened.send_c_store(body, msg_id=index % 0xFFFF + 1)
            except (RuntimeError, OSError) as error:
                raise Broken(f"C-STORE: the association broke off after {index} of {len(files)} instances.") from error
            if "Status" not in status:
                raise Broken(f"C-STORE: no answer to instance {index + 1} of {len(files)}; the association ended.")
            if not answered(index, int(status.Status)):
                return


def instances_there(address: Address, *, study_uid: str, series_uid: str) -> set[str] | None:
    """SOP Instance UIDs of a series at the peer, by C-FIND at IMAGE level; None if it offers no C-FIND."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = ""
    found = _find(address, query)
    return None if found is None else {str(answer.SOPInstanceUID) for answer in found if "SOPInstanceUID" in answer}


def instances_related(address: Address, *, study_uid: str, series_uid: str) -> int | None:
    """Number of Series Related Instances (0020,1209) at the peer; None if it does not say."""
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.NumberOfSeriesRelatedInstances = ""
    counts = [answer.get("NumberOfSeriesRelatedInstances") for answer in _find(address, query) or ()]
    return int(counts[0]) if len(counts) == 1 and counts[0] is not None else None


def _find(address: Address, query: Dataset) -> list[Dataset] | None:
    contexts = [(STUDY_ROOT_FIND, [EXPLICIT_LE, IMPLICIT_LE])]
    try:
        with association(address, contexts, purpose="C-FIND") as opened:
            answers: list[Dataset] = []
            for status, answer in opened.send_c_find(query, STUDY_ROOT_FIND):
                code = int(status.Status) if "Status" in status else None
                if code in _PENDING and answer is not None:
                    answers.append(answer)
                elif code != 0x0000:
                    # An archive that stores for everybody may answer questions of a few only: no answer, not a fault.
                    log.warning("C-FIND not answered", status="none" if code is None else f"{code:#06x}")
                    return None
            return answers
    except NoContext:
        return None
