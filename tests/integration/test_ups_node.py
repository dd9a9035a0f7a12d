"""The worklist of a running node: several processes serve one list, and any of them may be killed at any moment."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from pydicom.uid import generate_uid
from pynetdicom.association import Association
from sqlalchemy import select

from node.records.tables import ASSOCIATIONS
from tests import ups_clients
from tests.peers import HOST, free_port, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.ups_clients import Subscriber, change_state, create, found_uids, get, performed, set_values

MINE = "1.2.9.1"
CLAIMERS = 4  # at each of the two receivers
STARTS_S = 180.0  # the longest that a busy machine may take for a start


@pytest.fixture(scope="module")
def watcher() -> Subscriber:
    return Subscriber(free_port(), "WATCHER")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, watcher: Subscriber) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("ups-node")
    ups = {"claim": ["READER"], "watch": ["WATCHER"], "create": ["READER"]}
    raw = settings_for(folder, receiver={"processes": 2}, worklist={"ups": ups}, port=free_port())
    here = {"addresses": ["127.0.0.0/8"]}
    raw["peers"] = [
        {"name": "reader", "ae_title": "READER", **here},
        {"name": "watcher", "ae_title": "WATCHER", "host": HOST, "port": watcher.port, **here},
    ]
    running = RunningNode(folder, raw)
    try:
        running.start(wait=False)
        running.wait_ready(timeout_s=STARTS_S)
        yield running
    finally:
        running.stop()


def receivers_in_use(node: RunningNode) -> Counter[str]:
    with closing(node.records()) as records, records.read() as connection:
        query = select(ASSOCIATIONS.c.receiver).where(ASSOCIATIONS.c.closed_at.is_(None))
        return Counter(name.partition("/")[0] for name in connection.execute(query).scalars().all())


def test_of_those_who_claim_at_once_at_two_receivers_one_wins(node: RunningNode) -> None:
    uids = [f"1.2.20.{number}" for number in range(6)]
    with ExitStack() as stack:
        opened: list[Association] = []
        while len(found := receivers_in_use(node)) < 2 or min(found.values()) < CLAIMERS:
            assert len(opened) < 20, found
            opened.append(stack.enter_context(ups_clients.association(node.port, called=AE_TITLE)))
        for uid in uids:
            assert create(opened[0], uid) == 0x0000
        start, transactions = threading.Barrier(len(opened)), [str(generate_uid()) for _ in opened]
        answers: list[list[int]] = [[] for _ in opened]

        def claim(number: int) -> None:
            start.wait(30)
            for uid in uids:
                answers[number].append(change_state(opened[number], uid, "IN PROGRESS", transactions[number]))

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(opened))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for place, uid in enumerate(uids):
            statuses = [one[place] for one in answers]
            assert sorted(statuses) == [0x0000, *[0xC302] * (len(opened) - 1)]
            winner = statuses.index(0x0000)
            loser = (winner + 1) % len(opened)
            assert set_values(opened[loser], uid, TransactionUID=transactions[loser], ProcedureStepLabel="x") == 0xC301
            assert set_values(opened[loser], uid, TransactionUID=transactions[winner], ProcedureStepLabel="x") == 0x0000


def test_what_was_answered_and_what_was_to_be_told_outlives_a_kill(node: RunningNode, watcher: Subscriber) -> None:
    uid = "1.2.21.1"
    with ups_clients.association(node.port, called=AE_TITLE, calling="WATCHER") as opened:
        assert ups_clients.subscribe(opened, "WATCHER") == 0x0000
    with ups_clients.association(node.port, called=AE_TITLE) as opened:
        assert create(opened, uid) == 0x0000
        with watcher.there():
            wait_until("the subscriber hears of it", lambda: watcher.states == ["SCHEDULED"])
        assert change_state(opened, uid, "IN PROGRESS", MINE) == 0x0000
        node.kill("supervisor")  # and all others with it
    node.wait_ready(timeout_s=STARTS_S)
    with ups_clients.association(node.port, called=AE_TITLE) as opened:
        assert change_state(opened, uid, "IN PROGRESS", "1.2.9.2") == 0xC302
        performing = {"UnifiedProcedureStepPerformedProcedureSequence": [performed()]}
        assert set_values(opened, uid, TransactionUID=MINE, **performing) == 0x0000
        assert change_state(opened, uid, "COMPLETED", MINE) == 0x0000
        assert get(opened, uid)[1].ProcedureStepState == "COMPLETED"  # type: ignore[union-attr]
        assert uid not in found_uids(opened, ProcedureStepState="SCHEDULED")
    with watcher.there():
        wait_until("the subscriber hears of the end", lambda: "COMPLETED" in watcher.states, timeout_s=90)
    assert watcher.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    assert watcher.types.count(4) == 1  # the node was started again
