"""Those who subscribed to the worklist are told, in order, once, also when they were away (PS3.4 CC.2.4)."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.dicom.json_model import plain
from node.peers.dimse.connect import Address
from node.peers.dimse.ups_sending import GIVEN_UP_S, UpsEvents
from node.records import subscriptions
from node.records.database import FILE_NAME, Records, migrate
from node.settings.ups import Ups
from node.worklist import ups_events
from node.worklist.ups_operations import Operations
from node.worklist.ups_status import ALL_ITEMS, Refusal, Status
from tests.peers import HOST, free_port, wait_until
from tests.ups_clients import Subscriber, code, items, performed, workitem

UID, OTHER, MINE = "1.2.5.1", "1.2.5.2", "1.2.9.1"
ALLOWED = Ups(claim=("READER",), watch=("WATCHER",), create=("READER",))


class Node:
    """The worklist and its outbox, with a clock that the test sets."""

    def __init__(self, records: Records, subscribers: dict[str, Subscriber]) -> None:
        self.records, self.now = records, 1_767_268_800.0
        self.operations = Operations(
            records=records, settings=ALLOWED, credit_minutes=120.0, called=frozenset(subscribers), up=lambda: False,
            clock=lambda: self.now,
        )  # fmt: skip
        addresses = {
            name: Address(
                host=HOST, port=one.port, called_ae=name, calling_ae="NODE", connect_s=3.0, response_s=5.0,
                implementation_uid=IMPLEMENTATION_CLASS_UID,
            )
            for name, one in subscribers.items()
        }  # fmt: skip
        self.events = UpsEvents(records, addresses, lambda: self.now)

    def waiting(self) -> int:
        with self.records.read() as connection:
            return subscriptions.count_waiting(connection)

    def attempts(self, name: str) -> int:
        with self.records.read() as connection:
            return subscriptions.waiting(connection, name, most=1)[0].attempts

    def sent(self) -> bool:
        self.events.tick()
        return not self.waiting()

    def create(self, uid: str, **more: Any) -> None:
        assert self.operations.create("READER", uid, model(**more), dropped=False) == Status.SUCCESS

    def act(self, uid: str, state: str) -> None:
        sent = plain(items(ProcedureStepState=state, TransactionUID=MINE))[0]
        assert self.operations.change_state("READER", uid, sent) == Status.SUCCESS

    def set(self, uid: str, **values: Any) -> None:
        sent = plain(items(TransactionUID=MINE, **values))[0]
        assert self.operations.set("READER", uid, sent, dropped=False) == Status.SUCCESS

    def subscribe(self, name: str, uid: str = ALL_ITEMS, *, lock: str = "FALSE") -> Status:
        return self.operations.subscribe("WATCHER", uid, plain(items(ReceivingAE=name, DeletionLock=lock))[0])


def model(**more: Any) -> Any:
    return plain(workitem(**more))[0]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    migrate(folder)
    return folder


@pytest.fixture
def watcher() -> Subscriber:
    return Subscriber(free_port(), "WATCHER")


@pytest.fixture
def monitor() -> Subscriber:
    return Subscriber(free_port(), "MONITOR")


@pytest.fixture
def node(tmp_path: Path, empty: Path, watcher: Subscriber, monitor: Subscriber) -> Iterator[Node]:
    shutil.copy(empty / FILE_NAME, tmp_path)
    with closing(Records(tmp_path)) as records:
        found = Node(records, {"WATCHER": watcher, "MONITOR": monitor})
        yield found
        found.events.close()


def test_a_subscriber_hears_of_everything_in_the_order_in_which_it_happened(node: Node, watcher: Subscriber) -> None:
    assert node.subscribe("WATCHER") == Status.SUCCESS
    node.create(UID, ScheduledStationNameCodeSequence=[code("WS1", "99SITE")])
    node.act(UID, "IN PROGRESS")
    node.set(UID, ProcedureStepProgressInformationSequence=[items(ProcedureStepProgress="50")])
    reason = plain(items(ReasonForCancellation="山田さん", SpecificCharacterSet="ISO_IR 192"))[0]
    assert node.operations.request_cancel("READER", UID, reason) == Status.SUCCESS
    node.set(UID, UnifiedProcedureStepPerformedProcedureSequence=[performed()])
    node.act(UID, "COMPLETED")
    with node.records.write() as connection:
        assert ups_events.restarted(connection, (), at=node.now) == 1
    with watcher.there():
        wait_until("all is told", node.sent)

    assert watcher.types == [1, 5, 1, 3, 2, 1, 4]
    assert watcher.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    assert all(watcher.was_scp)
    by_type = {event_type: found for _, event_type, found in watcher.heard}
    assert by_type[5].ScheduledStationNameCodeSequence[0].CodeValue == "WS1"
    assert by_type[3].ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 50
    assert (by_type[2].RequestingAE, by_type[2].ReasonForCancellation) == ("READER", "山田さん")
    assert (by_type[4].SCPStatus, by_type[4].SubscriptionListStatus) == ("RESTARTED", "WARM START")
    assert by_type[1].InputReadinessState == "READY"


def test_one_who_is_away_hears_of_it_when_he_is_back_once(node: Node, watcher: Subscriber, monitor: Subscriber) -> None:
    node.subscribe("WATCHER")
    node.subscribe("MONITOR")
    node.create(UID)
    with monitor.there():
        wait_until("who is there is told", lambda: node.events.tick() or monitor.types)
        wait_until("the other is put off", lambda: node.attempts("WATCHER") == 1)
        assert not node.sent()  # he is not called again at once
        node.act(UID, "IN PROGRESS")
        with watcher.there():
            node.now += 10.0
            wait_until("all is told", node.sent)
    assert watcher.states == monitor.states == ["SCHEDULED", "IN PROGRESS"]


def test_what_nobody_took_in_a_day_is_given_up(node: Node) -> None:
    node.subscribe("WATCHER")
    node.create(UID)
    node.now += GIVEN_UP_S + 1

    assert node.sent()


def test_a_subscriber_that_cannot_now_is_asked_again_and_one_that_will_not_is_not(
    node: Node, watcher: Subscriber
) -> None:
    node.subscribe("WATCHER")
    node.create(UID)
    with watcher.there():
        watcher.status = 0x0110
        wait_until("it said no", lambda: node.events.tick() or watcher.was_scp)
        wait_until("it is put off", lambda: node.attempts("WATCHER") == 1)
        watcher.status = 0x0112
        node.now += 10.0
        wait_until("it is given up", node.sent)
        assert watcher.heard == []


def test_one_that_hangs_keeps_nobody_else_waiting(node: Node, watcher: Subscriber, monitor: Subscriber) -> None:
    for name in ("WATCHER", "MONITOR"):
        node.subscribe(name)
    watcher.hold.clear()
    node.create(UID)
    with watcher.there(), monitor.there():
        wait_until("the other one is told", lambda: node.events.tick() or monitor.types)
        assert watcher.heard == []
        watcher.hold.set()
        wait_until("all is told", node.sent)


def test_subscriptions_are_as_the_standard_has_them(node: Node, watcher: Subscriber) -> None:
    """PS3.4 table CC.2.3-2."""
    node.create(UID)
    assert node.subscribe("WATCHER") == Status.SUCCESS
    assert node.waiting() == 0  # a global subscription without a lock brings no initial events
    assert node.subscribe("MONITOR", lock="TRUE") == Status.SUCCESS
    assert node.waiting() == 1
    assert node.subscribe("MONITOR", UID) == Status.SUCCESS
    assert node.waiting() == 2  # a specific one does, and takes the lock off
    with node.records.read() as connection:
        assert subscriptions.of_item(connection, UID) == {"WATCHER": False, "MONITOR": False}
    node.create(OTHER)
    with node.records.read() as connection:
        assert subscriptions.of_item(connection, OTHER) == {"WATCHER": False, "MONITOR": True}
    suspended = plain(items(ReceivingAE="MONITOR"))[0]
    assert node.operations.suspend("WATCHER", ALL_ITEMS, suspended) == Status.SUCCESS
    node.create("1.2.5.3")
    with node.records.read() as connection:
        assert subscriptions.of_item(connection, "1.2.5.3") == {"WATCHER": False}
    assert node.operations.unsubscribe("WATCHER", UID, suspended) == Status.SUCCESS
    with node.records.read() as connection:
        assert subscriptions.of_item(connection, UID) == {"WATCHER": False}
    assert node.operations.unsubscribe("WATCHER", ALL_ITEMS, suspended) == Status.SUCCESS
    with node.records.read() as connection:
        assert subscriptions.of_item(connection, OTHER) == {"WATCHER": False}
    for action, uid, status in (
        (node.operations.suspend, UID, Status.NOT_FOR_THIS),
        (node.operations.unsubscribe, "1.2.99", Status.UNKNOWN),
        (node.operations.unsubscribe, f"{ALL_ITEMS}.1", Status.UNKNOWN),  # filtered subscriptions are not offered
    ):
        with pytest.raises(Refusal) as refused:
            action("WATCHER", uid, suspended)
        assert refused.value.status == status


def test_cancelling_is_asked_of_the_performer_and_done_where_there_is_none(node: Node, watcher: Subscriber) -> None:
    node.create(UID)
    node.create(OTHER)
    node.act(UID, "IN PROGRESS")
    with pytest.raises(Refusal) as refused:
        node.operations.request_cancel("READER", UID, {})
    assert refused.value.status == Status.NOT_REACHED  # nobody would hear of it
    node.subscribe("WATCHER")
    assert node.operations.request_cancel("READER", UID, {}) == Status.SUCCESS
    assert node.operations.request_cancel("READER", OTHER, {}) == Status.SUCCESS
    assert node.operations.request_cancel("READER", OTHER, {}) == Status.ALREADY_CANCELED
    with watcher.there():
        wait_until("all is told", node.sent)
    assert watcher.types == [2, 1, 1]
    assert watcher.states == ["IN PROGRESS", "CANCELED"]
