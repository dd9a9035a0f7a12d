"""N-EVENT-REPORT to those who subscribed to the worklist (PS3.4 CC.2.4), on associations that the node opens.

The outbox is in the records: an event stays there until its subscriber has taken it, in the order in which things
happened, over any number of processes that die meanwhile. A subscriber that is away is tried again after ever longer
pauses; after a day an event is given up.
"""

import random
import threading
from collections.abc import Callable, Mapping
from typing import Final

from node.dicom import json_model
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.log import log
from node.peers.carrier import Broken, Unreachable
from node.peers.dimse.connect import Address
from node.peers.dimse.link import Link, linked
from node.peers.dimse.message import SUCCESS, Command, Field
from node.peers.dimse.negotiation import NoContext, Proposal
from node.peers.dimse.query import encoded
from node.records import subscriptions
from node.records.database import Records
from node.records.subscriptions import Event
from node.worklist.ups_status import EVENT, PUSH

_SYNTAXES: Final = (EXPLICIT_LE, IMPLICIT_LE)
# The node is SCP of this class on an association that it requests itself (PS3.7 D.3.3.4).
PROPOSALS: Final = (Proposal(abstract_syntax=EVENT, transfer_syntaxes=_SYNTAXES, as_scp=True),)
GIVEN_UP_S: Final = 24 * 3600.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_SPREAD: Final = 0.2
_AT_ONCE: Final = 100  # events on one association
_SUBSCRIBERS_AT_ONCE: Final = 8
_MOST_REPLY: Final = 1 << 20
_WARNINGS: Final = range(0xB000, 0xC000)
# A failure that passes: the subscriber could not, for now (PS3.7 annex C).
_PASSING: Final = frozenset({0x0110, 0x0213})


class UpsEvents:
    """Sends what is in the outbox. Each subscriber has a thread while it is called, so that none waits for another.

    addresses: AE title -> how to call it
    clock:     seconds since the epoch
    """

    def __init__(self, records: Records, addresses: Mapping[str, Address], clock: Callable[[], float]) -> None:
        self._records, self._addresses, self._clock = records, dict(addresses), clock
        self._calling: dict[str, threading.Thread] = {}
        self._closed = threading.Event()

    def tick(self) -> None:
        """Begin to call those who have something due; what is old is given up. Returns at once."""
        self._calling = {name: thread for name, thread in self._calling.items() if thread.is_alive()}
        at = self._clock()
        with self._records.read() as connection:
            due = subscriptions.due(connection, at=at)
            old = subscriptions.count_waiting(connection, before=at - GIVEN_UP_S)
        if old:
            self._give_up_old(at)
        for ae_title in due:
            if ae_title in self._calling or len(self._calling) >= _SUBSCRIBERS_AT_ONCE:
                continue
            thread = threading.Thread(target=self._call, args=(ae_title,), name=f"ups {ae_title}", daemon=True)
            self._calling[ae_title] = thread
            thread.start()

    def close(self) -> None:
        """Wait for the calls that are under way; nothing is lost by one that is not waited for."""
        self._closed.set()
        for thread in self._calling.values():
            thread.join(1.0)

    def _give_up_old(self, at: float) -> None:
        with self._records.write() as connection:
            dropped = subscriptions.drop_old(connection, before=at - GIVEN_UP_S)
        if dropped:
            log.warning("worklist events given up: their subscribers were away for a day", events=dropped)

    def _call(self, ae_title: str) -> None:
        with self._records.read() as connection:
            events = subscriptions.waiting(connection, ae_title, most=_AT_ONCE)
        if not events:
            return
        address = self._addresses.get(ae_title)
        try:
            if address is None:
                raise Unreachable("The settings have no address of it any more.")
            with linked(address, PROPOSALS, purpose="N-EVENT-REPORT") as link:
                for event in events:
                    if self._closed.is_set() or not self._report(link, event):
                        return
        except (Unreachable, Broken) as error:
            log.warning("subscriber of the worklist not reached", subscriber=ae_title, why=error.message)
            self._later(ae_title)
        except Exception:  # noqa: BLE001  one subscriber's trouble stays its own; the log has the trace
            log.exception("worklist event not sent", subscriber=ae_title)
            self._later(ae_title)

    def _report(self, link: Link, event: Event) -> bool:
        """Send one event. Returns whether the next one may follow. Raises Broken."""
        chosen = link.context(EVENT, _SYNTAXES)
        if chosen is None:
            raise NoContext("N-EVENT-REPORT: the peer does not take UPS Event.")
        context, syntax = chosen
        message_id = link.next_id()
        link.send(
            context,
            {
                Field.AFFECTED_CLASS: PUSH,
                Field.COMMAND: Command.N_EVENT_REPORT_RQ,
                Field.MESSAGE_ID: message_id,
                Field.DATA_SET_TYPE: 1,
                Field.AFFECTED_INSTANCE: event.workitem_uid,
                Field.EVENT_TYPE: event.event_type,
            },
            encoded(json_model.dataset(event.body), implicit=syntax == IMPLICIT_LE),
        )
        answer = link.receive()
        if answer.has_data_set:
            link.data_set(_MOST_REPLY)
        status = answer.number(Field.STATUS)
        if answer.number(Field.RESPONDED_TO) != message_id or status is None:
            raise Broken("N-EVENT-REPORT: the peer sent something else than an answer.")
        if status in _PASSING:
            log.warning("subscriber of the worklist cannot for now", subscriber=event.ae_title, status=f"{status:#06x}")
            self._later(event.ae_title)
            return False
        if status != SUCCESS and status not in _WARNINGS:
            log.warning("worklist event refused", subscriber=event.ae_title, status=f"{status:#06x}")
        with self._records.write() as connection:
            subscriptions.done(connection, event.id)
        return True

    def _later(self, ae_title: str) -> None:
        """Put off the oldest event, which all others of its subscriber wait for."""
        with self._records.write() as connection:
            for oldest in subscriptions.waiting(connection, ae_title, most=1):
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(oldest.attempts, 20))
                pause_s *= random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311  so that many do not come at once
                subscriptions.later(connection, oldest.id, next_at=self._clock() + pause_s)
