"""The web part of the node: the STOW-RS listener and the Orthanc sources, where the settings have them."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from node import app
from node.errors import Refuse
from node.intake.associations import Associations
from node.intake.incoming import Status
from node.metrics import METRICS, prime_web
from node.peers.taking import Taking
from node.peers.web.orthanc_source import OrthancReader
from node.peers.web.stow import make
from node.peers.web.stow_server import StowServer
from node.records import instances
from node.records.database import Records
from node.settings import Settings
from node.stages.receive import Intake

_NAME: Final = "web"  # of this part, and of its lock: only one runs
_END_S: Final = 10.0


@dataclass
class Web:
    """What runs. `stow`: None if the settings have none."""

    stow: StowServer | None = None
    readers: list[threading.Thread] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def require_alive(self) -> None:
        """Raises Refuse when a piece ended by itself; the supervisor then starts the part again."""
        if self.stow is not None and not self.stow.alive():
            raise Refuse("The STOW-RS listener ended.", fix="See the log above.")
        if not all(reader.is_alive() for reader in self.readers):
            raise Refuse("The reader of a source ended.", fix="See the log above.")


@contextmanager
def serving(settings: Settings) -> Iterator[Web]:
    """The running part."""
    me = f"{_NAME}/{os.getpid()}-{time.time_ns():x}"[:32]
    prime_web(Status)
    with ExitStack() as stack:
        records = stack.enter_context(contextlib.closing(Records(settings.node.state.absolute())))
        child = stack.enter_context(contextlib.closing(app.decoder_of(settings)))
        spool = app.spool_of(settings)
        intake = stack.enter_context(contextlib.closing(app.intake_of(settings, records, spool, child)))
        with records.write() as connection:
            lost = [other for other in instances.open_receivers(connection) if other.startswith(f"{_NAME}/")]
            instances.close_lost_associations(connection, receivers=lost, at=time.time())
        taking, web = _taking(records, intake, me), Web()
        if settings.stow is not None:
            web.stow = StowServer(settings.stow, make(settings.stow, taking))
            stack.callback(web.stow.close)
        for source in settings.sources:
            reader = OrthancReader(source, records, taking)
            thread = threading.Thread(target=reader.run, args=(web.stopping,), name=source.name, daemon=True)
            thread.start()
            web.readers.append(thread)
            stack.callback(thread.join, _END_S)
        stack.callback(web.stopping.set)
        yield web


def _taking(records: Records, intake: Intake, me: str) -> Taking:
    associations = Associations(records, me)

    def answered(status: int, size: int) -> None:
        METRICS.stored.labels(status=f"{status:#06x}").inc()
        if status == Status.SUCCESS:
            METRICS.received_bytes.inc(size)

    return Taking(
        begin=intake.begin,
        opened=associations.opened,
        closed=associations.closed,
        answered=answered,
        refused=lambda reason: METRICS.associations_refused.labels(reason=reason).inc(),
    )
