"""What peers do with workitems (PS3.4 CC.2), each in one transaction of the records: done whole and durable, or not.

Several processes work on the same records. Every change reads the workitem inside its own writing transaction, of which
SQLite lets one run at a time, and is made only where the state is still the one that was read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from node.dicom.json_model import CHARACTER_SET, Plain
from node.dicom.uids import is_well_formed
from node.records import subscriptions, triages, workitems
from node.records.database import Records
from node.records.workitems import Item
from node.settings.ups import Ups
from node.worklist import ups_events, ups_matching, ups_moments, ups_order, ups_requests
from node.worklist.ups_attributes import (
    ATTRIBUTES,
    DELETION_LOCK,
    INPUT,
    PRIORITY,
    RECEIVER,
    SOP_CLASS,
    SOP_INSTANCE,
    START,
    STATE,
    TIMEZONE,
    TRANSACTION,
    WORKLIST,
)
from node.worklist.ups_moves import cancel_scheduled, move
from node.worklist.ups_requests import EVENT_STATE, one
from node.worklist.ups_status import ALL_ITEMS, FINAL, SOME_ITEMS, Refusal, State, Status
from pipelines.queue_rule import credit_of_priority_s

MOST_ITEMS: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The worklist, for those who come by DICOM. Methods may be called from any thread and any process.

    credit_minutes: by how much a priority moves a workitem of a peer
    called:         AE titles that the node can call
    up:             whether triage works; if not, arrival orders the list
    clock:          seconds since the epoch
    """

    records: Records
    settings: Ups
    credit_minutes: float
    called: frozenset[str]
    up: Callable[[], bool]
    clock: Callable[[], float]

    def create(self, ae_title: str, uid: str, sent: Plain, *, dropped: bool) -> Status:
        """N-CREATE. dropped: something of what was sent is not among `sent`. Raises Refusal."""
        self._require(self.settings.may_create(ae_title))
        if not is_well_formed(uid):
            raise Refusal(Status.INVALID_OBJECT, "Affected SOP Instance UID is missing or no UID")
        at = self.clock()
        with self.records.write() as connection:
            if workitems.get(connection, uid) is not None:
                raise Refusal(Status.DUPLICATE, "The workitem is here already")
            made = ups_requests.created(sent, uid=uid, label=self.settings.label, at=at, dropped=dropped)
            if workitems.count(connection) >= MOST_ITEMS:
                raise Refusal(Status.RESOURCE_LIMIT, f"The list holds {MOST_ITEMS} workitems")
            item = _placed(workitems.new(uid, made.attributes, at=at), made.attributes, self.credit_minutes)
            workitems.add(connection, item)
            ups_events.announce(connection, uid, made.attributes, at=at)
        return Status.MODIFIED if made.changed else Status.SUCCESS

    def change_state(self, ae_title: str, uid: str, sent: Plain) -> Status:
        """N-ACTION type 1: claim, complete, cancel (table CC.1.1-2). Raises Refusal."""
        self._require(self.settings.may_claim(ae_title))
        asked, transaction = one(STATE, sent), one(TRANSACTION, sent)
        with self.records.write() as connection:
            item = _known(connection, uid)
            if not asked:
                raise Refusal(Status.MISSING_ATTRIBUTE, "Procedure Step State is missing")
            if asked == State.SCHEDULED:
                raise Refusal(Status.NEVER_SCHEDULED, "A workitem becomes SCHEDULED by N-CREATE only")
            if asked not in tuple(State):
                raise Refusal(Status.INVALID_ARGUMENT, "Procedure Step State is none of its values")
            if not is_well_formed(transaction):
                raise Refusal(Status.WRONG_TRANSACTION, "Transaction UID is missing or no UID")
            if asked == State.IN_PROGRESS:
                return self._claim(connection, item, transaction, ae_title)
            return self._end(connection, item, State(asked), transaction)

    def _claim(self, connection: Connection, item: Item, transaction: str, ae_title: str) -> Status:
        if item.state in FINAL:
            raise Refusal(Status.FINAL, "The workitem has ended")
        if item.state == State.IN_PROGRESS:
            raise Refusal(Status.ALREADY_IN_PROGRESS, "The workitem is in progress")
        at = self.clock()
        move(
            connection, item, State.IN_PROGRESS, item.attributes, at=at,
            transaction_uid=transaction, claimed_by=ae_title[:16], claimed_at=at,
        )  # fmt: skip
        if item.is_own:
            triages.read(connection, item.study_uid, at=at)
        return Status.SUCCESS

    def _end(self, connection: Connection, item: Item, to: State, transaction: str) -> Status:
        if item.state == State.SCHEDULED:
            raise Refusal(Status.NOT_IN_PROGRESS, "The workitem is not in progress")
        if item.state in FINAL and item.state != to:
            raise Refusal(Status.FINAL, "The workitem has ended otherwise")
        if item.transaction_uid != transaction:
            raise Refusal(Status.WRONG_TRANSACTION, "Transaction UID is not that of the claim")
        if item.state == to:
            return Status.ALREADY_CANCELED if to is State.CANCELED else Status.ALREADY_COMPLETED
        at = self.clock()
        attributes = item.attributes
        if to is State.CANCELED:
            attributes = ups_requests.cancelled(attributes, at=at)
        elif not ups_requests.may_complete(attributes):
            raise Refusal(Status.NOT_READY_FOR_END, "Performed Procedure lacks what COMPLETED needs")
        move(connection, item, to, attributes, at=at, ended_at=at)
        return Status.SUCCESS

    def request_cancel(self, ae_title: str, uid: str, sent: Plain) -> Status:
        """N-ACTION type 2, by somebody who has not claimed the workitem. Raises Refusal."""
        self._require(self.settings.may_create(ae_title) or self.settings.may_claim(ae_title))
        at = self.clock()
        with self.records.write() as connection:
            item = _known(connection, uid)
            if item.state == State.CANCELED:
                return Status.ALREADY_CANCELED
            if item.state == State.COMPLETED:
                raise Refusal(Status.COMPLETED, "The workitem is completed")
            if item.state == State.IN_PROGRESS:
                if not subscriptions.of_item(connection, uid):
                    raise Refusal(Status.NOT_REACHED, "Nobody who may perform it has subscribed")
                ups_events.cancel_requested(connection, uid, sent, by=ae_title, at=at)
                return Status.SUCCESS
            reason = {tag: sent[tag] for tag in ups_events.REASONS[:2] if tag in sent}
            cancel_scheduled(connection, item, reason, at=at)
        return Status.SUCCESS

    def set(self, ae_title: str, uid: str, sent: Plain, *, dropped: bool) -> Status:
        """N-SET, all of it or nothing. Raises Refusal."""
        self._require(self.settings.may_claim(ae_title) or self.settings.may_create(ae_title))
        at = self.clock()
        with self.records.write() as connection:
            item = _known(connection, uid)
            if item.state in FINAL:
                raise Refusal(Status.FINAL, "The workitem has ended")
            if item.state == State.SCHEDULED and TRANSACTION in sent:
                raise Refusal(Status.NOT_IN_PROGRESS, "The workitem is not in progress")
            if item.state == State.IN_PROGRESS and one(TRANSACTION, sent) != item.transaction_uid:
                raise Refusal(Status.WRONG_TRANSACTION, "Transaction UID is not that of the claim")
            own = item.is_own
            written, events = ups_requests.changed(item.attributes, sent, at=at, never_low=own, dropped=dropped)
            moved = replace(item, attributes=written.attributes)
            if any(written.attributes[tag] != item.attributes.get(tag) for tag in (PRIORITY, START)):
                moved = _placed(moved, written.attributes, self.credit_minutes, own=own)
            workitems.change(
                connection, uid, since=item.state, at=at, attributes=written.attributes, priority=moved.priority,
                queued_at=moved.queued_at, credit_s=moved.credit_s, label=one(WORKLIST, written.attributes),
            )  # fmt: skip
            for event in sorted(events):
                ups_events.tell(connection, uid, event, written.attributes, at=at)
        return Status.COERCED if written.changed else Status.NOT_ALL if written.dropped else Status.SUCCESS

    def get(self, ae_title: str, uid: str, wanted: list[str]) -> tuple[Status, Plain]:
        """N-GET. wanted: tags; none: all. The Transaction UID never leaves. Raises Refusal."""
        self._require(self.settings.may_look(ae_title))
        with self.records.read() as connection:
            attributes = dict(_known(connection, uid).attributes)
        attributes.pop(TRANSACTION, None)
        if not wanted:
            return Status.SUCCESS, attributes
        known = {SOP_CLASS, SOP_INSTANCE, *ATTRIBUTES} - {TRANSACTION}
        everything = all(tag in known or tag == CHARACTER_SET for tag in wanted)
        asked = dict.fromkeys(tag for tag in wanted if tag in attributes)
        return Status.SUCCESS if everything else Status.NOT_ALL, ups_matching.answer(attributes, asked)

    def find(self, ae_title: str, identifier: Plain) -> tuple[ups_matching.Query, Iterator[Plain]]:
        """C-FIND: the query as understood, and its answers in the order of the list. Raises Refusal."""
        self._require(self.settings.may_look(ae_title))
        asked = ups_matching.query(identifier)
        exact = asked.exact
        with self.records.read() as connection:
            found = workitems.listing(
                connection,
                uids=[exact[SOP_INSTANCE]] if SOP_INSTANCE in exact else (),
                states=[exact[STATE]] if STATE in exact else (),
                priority=exact.get(PRIORITY),
                whole=INPUT in identifier,
            )
        fitting = [item for item in found if asked.fits(item.attributes)]
        ordered = ups_order.ordered(fitting, up=self.up())
        return asked, (ups_matching.answer(item.attributes, asked.wanted) for item in ordered)

    def subscribe(self, ae_title: str, uid: str, sent: Plain) -> Status:
        """N-ACTION type 3 (table CC.2.3-2). Raises Refusal."""
        receiver = self._receiver(ae_title, sent)
        lock = one(DELETION_LOCK, sent)
        if not lock:
            raise Refusal(Status.MISSING_ATTRIBUTE, "Deletion Lock is missing")
        if lock not in ("TRUE", "FALSE"):
            raise Refusal(Status.INVALID_ARGUMENT, "Deletion Lock is neither TRUE nor FALSE")
        locked, at = lock == "TRUE" and self.settings.deletion_locks, self.clock()
        with self.records.write() as connection:
            if uid == ALL_ITEMS:
                subscriptions.put(connection, receiver, subscriptions.ALL, locked=locked, at=at)
                new = subscriptions.put_on_all(connection, receiver, locked=locked, at=at)
                for item in workitems.listing(connection, whole=False) if lock == "TRUE" else ():
                    if item.uid in new:
                        self._tell_state(connection, receiver, item, at)
            else:
                item = _known(connection, uid)
                subscriptions.put(connection, receiver, uid, locked=locked, at=at)
                self._tell_state(connection, receiver, item, at)
        return Status.NO_LOCK if lock == "TRUE" and not locked else Status.SUCCESS

    def _tell_state(self, connection: Connection, receiver: str, item: Item, at: float) -> None:
        body = ups_events.state_report(item.attributes)
        subscriptions.tell_one(connection, receiver, item.uid, EVENT_STATE, body, at=at)

    def unsubscribe(self, ae_title: str, uid: str, sent: Plain) -> Status:
        """N-ACTION type 4. Raises Refusal."""
        receiver = self._receiver(ae_title, sent)
        with self.records.write() as connection:
            if uid == ALL_ITEMS:
                subscriptions.remove_all(connection, receiver)
            else:
                _known(connection, uid)
                subscriptions.remove(connection, receiver, uid)
        return Status.SUCCESS

    def suspend(self, ae_title: str, uid: str, sent: Plain) -> Status:
        """N-ACTION type 5: no subscription to new workitems any more. Raises Refusal."""
        receiver = self._receiver(ae_title, sent)
        with self.records.write() as connection:
            if uid != ALL_ITEMS:
                _known(connection, uid)
                raise Refusal(Status.NOT_FOR_THIS, "Only a global subscription is suspended")
            subscriptions.remove(connection, receiver, subscriptions.ALL)
        return Status.SUCCESS

    def _receiver(self, ae_title: str, sent: Plain) -> str:
        self._require(self.settings.may_look(ae_title))
        receiver = one(RECEIVER, sent)
        if not receiver:
            raise Refusal(Status.MISSING_ATTRIBUTE, "Receiving AE is missing")
        if receiver not in self.called:
            raise Refusal(Status.UNKNOWN_RECEIVER, "The node knows no address of the Receiving AE")
        return receiver

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise Refusal(Status.NOT_AUTHORISED, "The settings do not let this peer do that")


def _known(connection: Connection, uid: str) -> Item:
    item = None if uid == SOME_ITEMS else workitems.get(connection, uid)
    if item is None:
        raise Refusal(Status.UNKNOWN, "No workitem of this UID is here")
    return item


def _placed(item: Item, attributes: Plain, credit_minutes: float, *, own: bool = False) -> Item:
    """The item where its priority and start put it; one of the node's own keeps what its score earned."""
    priority = one(PRIORITY, attributes)
    credit_s = credit_of_priority_s(priority, credit_minutes)
    if own:
        return replace(item, priority=priority, credit_s=max(item.credit_s, credit_s))
    begin, _ = ups_moments.interval(one(START, attributes), one(TIMEZONE, attributes))
    return replace(item, priority=priority, credit_s=credit_s, queued_at=begin)
