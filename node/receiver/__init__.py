"""The receiver process: the listener, and behind it spool and records. Several of them share the node's ports.

Each has a slot, 1 to `receiver.processes`, with a lock and a sign of life of its own.
"""

import contextlib
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from node import app
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.intake.associations import Associations
from node.metrics import METRICS, prime_receiver
from node.peers.dimse import commitment, ups
from node.peers.dimse import evidence as dimse_evidence
from node.peers.dimse.listener import Listener, Listening
from node.proof import keep
from node.receiver.ports import Ports, part_name, prepare_ports, sockets
from node.records import instances
from node.records.database import Records
from node.settings import Settings
from node.stages.receive import Status
from node.worklist.standing import triage_is_up
from node.worklist.ups_operations import Operations

_DESCRIPTORS: Final = 8192  # enough for all that a process lets wait and serves


@contextmanager
def receiver(settings: Settings, *, slot: int = 1, ports_found: Ports | None = None) -> Iterator[Listener]:
    """A listening receiver.

    ports_found: by the supervisor; None for a receiver on its own, which opens those of the settings
    raises:      BadSetting
    """
    me = app.receiver_key(part_name(slot))
    state = settings.node.state.absolute()
    prime_receiver(Status)
    _raise_descriptor_limit()
    with ExitStack() as stack:
        records = stack.enter_context(contextlib.closing(Records(state)))
        child = stack.enter_context(contextlib.closing(app.decoder_of(settings)))
        spool = app.spool_of(settings)
        intake = stack.enter_context(contextlib.closing(app.intake_of(settings, records, spool, child)))

        def recorded(files: Iterable[str]) -> set[str]:
            with records.read() as connection:
                return instances.files_named(connection, files)

        associations = Associations(records, me)

        stored = {int(status): METRICS.stored.labels(status=f"{status:#06x}") for status in Status}
        took = METRICS.stage_seconds.labels(stage="receive", pipeline="")

        def answered(status: int, size: int, seconds: float) -> None:
            stored[status].inc()
            took.observe(seconds)
            if status == Status.SUCCESS:
                METRICS.received_bytes.inc(size)

        node = Listening(
            begin=intake.begin,
            opened=associations.opened,
            closed=associations.closed,
            refused=lambda reason: METRICS.associations_refused.labels(reason=reason).inc(),
            answered=answered,
        )
        spool.sweep(recorded)
        app.close_lost(settings, records, me)
        if ports_found is None:
            prepare_ports(settings)
        plain, secure = sockets(settings, ports_found)
        listener = Listener(
            settings.receiver,
            settings.peers,
            node,
            services=[
                dimse_evidence.service(
                    records,
                    child,
                    believed=[peer.ae_title for peer in settings.peers if peer.evidence],
                    clock=time.time,
                ),
                commitment.service(keep(records, time.time), child),
                *([ups.service(_operations(settings, records), child)] if settings.worklist.ups.enabled else []),
            ],
            implementation_uid=IMPLEMENTATION_CLASS_UID,
            state=state,
            plain=plain,
            secure=secure,
        )
        stack.callback(listener.close)
        yield listener


def _operations(settings: Settings, records: Records) -> Operations:
    """The worklist, for those who come by DICOM."""
    return Operations(
        records=records,
        settings=settings.worklist.ups,
        credit_minutes=settings.worklist.credit_minutes,
        called=frozenset(peer.ae_title for peer in settings.peers if peer.host is not None),
        up=lambda: triage_is_up(settings),
        clock=time.time,
    )


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
