"""A receiver that cannot be talked to death: silent, slow, greedy and lying clients (RELIABILITY §5 e)."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from node.demo.phantom import make_series
from node.dicom.classes import VERIFICATION
from node.dicom.part10 import split
from tests.conftest import SHARED
from tests.hostile import ABORT, CT, Client, Receiver, associate_rq, command, p_data, pdv, store_command
from tests.peers import HOST, wait_until
from tests.running_node import AE_TITLE, settings_for
from tests.senders import send_as_they_are

REQUEST_S, PDU_S = 3.0, 1.5
LIMIT_EXCEEDED = (3, b"\0\2\3\2")
UID = "1.2.826.0.1.3680043.10.1537.7"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    limits = {
        "request_timeout_s": REQUEST_S,
        "pdu_timeout_s": PDU_S,
        "network_timeout_s": 4.0,
        "maximum_associations": 8,
        "maximum_associations_per_address": 5,
        "maximum_instance_mb": 1,
    }
    with Receiver(folder, settings_for(folder, receiver=limits)) as running:
        yield running


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=3)


def seconds_to_store(receiver: Receiver, path: Path) -> float:
    """How long a well-meant sender takes, from its connection to its release."""
    began = time.monotonic()
    assert send_as_they_are(receiver.port, [path], called=AE_TITLE) == [0x0000]
    return time.monotonic() - began


def is_accepted(receiver: Receiver, *, source: str) -> bool:
    with Client(receiver.port, source=source) as client:
        return client.send(associate_rq()).pdu()[0] == 2


def test_500_silent_clients_do_not_hinder_a_sender_and_are_cut(receiver: Receiver, slices: list[Path]) -> None:
    threads = receiver.threads()
    with ExitStack() as stack:
        silent = [stack.enter_context(Client(receiver.port)) for _ in range(400)]
        half = [stack.enter_context(Client(receiver.port)).send(associate_rq()[:40]) for _ in range(100)]
        began = time.monotonic()

        assert seconds_to_store(receiver, slices[0]) < 2.0
        assert receiver.threads() <= threads + 3, "a thread for a client that has not asked for anything"
        for one in (silent[0], half[0], silent[-1], half[-1]):
            one.ended_within(REQUEST_S + 1.0)
        assert time.monotonic() - began < REQUEST_S + 1.5


def test_stock_pynetdicom_is_hindered_by_fewer() -> None:
    """The negative control: the same silence stops a server that is not made for it."""
    ae = AE(ae_title=AE_TITLE)
    ae.add_supported_context(VERIFICATION)
    server = ae.start_server((HOST, 0), block=False)
    try:
        port = server.socket.getsockname()[1]
        with ExitStack() as stack:
            for _ in range(11):
                stack.enter_context(Client(port))
            time.sleep(0.2)
            with Client(port) as honest:
                assert honest.send(associate_rq()).pdu() == LIMIT_EXCEEDED
    finally:
        server.shutdown()


def test_beyond_the_limits_the_answer_is_for_now_and_comes_at_once(receiver: Receiver) -> None:
    receiver.wait_for_rest()
    with ExitStack() as stack:
        held = [stack.enter_context(Client(receiver.port)).associate() for _ in range(5)]
        threads = receiver.threads()
        began = time.monotonic()
        with Client(receiver.port) as sixth:
            assert sixth.send(associate_rq()).pdu() == LIMIT_EXCEEDED, "of one address"
            sixth.ended_within(1.0)
        others = [stack.enter_context(Client(receiver.port, source="127.0.0.2")).associate() for _ in range(3)]
        with Client(receiver.port, source="127.0.0.3") as ninth:
            assert ninth.send(associate_rq()).pdu() == LIMIT_EXCEEDED, "of all"
        assert time.monotonic() - began < 2.0
        assert receiver.threads() <= threads + 2 * len(others), "a thread for a client that was refused"

        held[0].send(ABORT).ended_within(1.0)
        wait_until(
            "the place of an aborted association is free",
            lambda: is_accepted(receiver, source="127.0.0.3"),
            timeout_s=5,
        )


@pytest.mark.parametrize(
    "beginning",
    [
        b"\4\0\0",
        p_data(pdv(bytes(2000), control=1))[:500],
        store_command(UID) + p_data(pdv(bytes(999), control=0))[:77],
    ],
    ids=["header", "PDU", "data set"],
)
def test_a_stalled_pdu_is_cut(receiver: Receiver, slices: list[Path], beginning: bytes) -> None:
    with Client(receiver.port).associate() as stalled:
        stalled.send(beginning)
        assert seconds_to_store(receiver, slices[0]) < 2.0
        stalled.ended_within(PDU_S + 1.5)


def test_a_dripping_sender_is_cut_though_each_pdu_is_whole(receiver: Receiver) -> None:
    with Client(receiver.port).associate() as client:
        client.send(store_command(UID))
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 4 * PDU_S:
                client.send(p_data(pdv(b"\0\0", control=0)))
                time.sleep(0.05)
        assert time.monotonic() - began < 2 * PDU_S + 1.0


@pytest.mark.parametrize(
    ("kind", "associated"), [(1, False), (4, False), (4, True), (1, True), (7, True), (9, True)], ids=str
)
def test_a_declared_pdu_of_4_gib_is_cut_at_once_and_costs_nothing(
    receiver: Receiver, kind: int, associated: bool
) -> None:
    with Client(receiver.port) as client:
        if associated:
            client.associate()
        before = receiver.resident_mb()
        client.send(bytes([kind, 0]) + b"\xff\xff\xff\xff")
        client.socket.settimeout(1.0)
        assert client.pdu()[0] == 7, "an abort says why"
        assert client.ended_within(1.0) < 1.0
        assert receiver.resident_mb() < before + 10


@pytest.mark.parametrize(
    "message",
    [
        p_data(pdv(b"", control=0)),
        p_data(pdv(command(0x0001, uid=UID), control=3, context=77)),
        p_data(pdv(command(0x0001, uid=UID)[:20], control=3)),
        p_data(b"\x7f\xff\xff\xff\1\3" + bytes(20)),
        p_data(pdv(bytes(70_000), control=1)),
        store_command(UID) + store_command(UID),
        store_command(UID) + p_data(pdv(b"\0\0", control=2, context=3)),
        store_command(UID) + p_data(pdv(b"\0\0", control=2), pdv(b"\0\0", control=2)),
    ],
    ids=["data first", "context", "cut command", "PDV", "endless command", "two commands", "other context", "tail"],
)
def test_broken_framing_ends_the_association_and_nothing_else(receiver: Receiver, message: bytes) -> None:
    with Client(receiver.port).associate() as other, Client(receiver.port).associate() as broken:
        broken.send(message)
        assert broken.pdu()[0] == 7
        broken.ended_within(1.0)
        assert other.echo() == 0x0000


def test_a_data_set_may_come_in_any_pieces(receiver: Receiver, slices: list[Path]) -> None:
    meta, data_set = split(slices[1])
    first = command(0x0001, uid=meta.sop_instance_uid)
    pieces = [data_set[:1], data_set[1:1], data_set[1:5001], data_set[5001:70_000], b""]
    rest = [data_set[at : at + 30_000] for at in range(70_000, len(data_set), 30_000)]
    with Client(receiver.port).associate() as client:
        # The command in three PDUs, the last one with data behind it, PDVs without data, the end in an empty one.
        client.send(p_data(pdv(first[:9], control=1)) + p_data(pdv(first[9:10], control=1)))
        client.send(p_data(pdv(first[10:], control=3), pdv(pieces[0], control=0)))
        client.send(p_data(*(pdv(piece, control=0) for piece in pieces[1:])))
        for piece in rest:
            whole = p_data(pdv(piece, control=0))
            client.send(whole[:3])
            client.send(whole[3:])
        client.send(p_data(pdv(b"", control=2)))
        assert client.status() == 0x0000
        assert client.echo() == 0x0000
        assert client.store(meta.sop_instance_uid, data_set) == 0x0000, "the same object once more"


def test_what_is_refused_is_read_to_its_end_and_the_association_goes_on(receiver: Receiver, slices: list[Path]) -> None:
    meta, data_set = split(slices[2])
    with Client(receiver.port).associate() as client:
        assert client.store("1.2.03", data_set) == 0x0117
        assert client.store(meta.sop_instance_uid, bytes(3 << 19)) == 0xC003, "larger than maximum_instance_mb"
        client.send(store_command(UID, sop_class="1.2.840.10008.5.1.4.1.1.4"))
        assert client.send(p_data(pdv(b"\0\0", control=2))).status() == 0x0122
        assert client.send(store_command(UID, data=False)).status() == 0xC000
        assert client.store(meta.sop_instance_uid, data_set) == 0x0000


def test_an_abort_in_mid_object_leaves_nothing(receiver: Receiver, slices: list[Path]) -> None:
    _, data_set = split(slices[0])
    aside = receiver.settings.node.state / "spool" / "aside"
    with Client(receiver.port).associate() as client:
        client.send(store_command("1.2.3.4.5") + p_data(pdv(data_set[:60_000], control=0)) + ABORT)
        client.ended_within(2.5)
    assert [path for path in aside.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_an_idle_association_is_aborted_after_its_time(receiver: Receiver) -> None:
    with Client(receiver.port).associate() as client:
        assert 3.0 < client.ended_within(7.0) < 6.0


def test_of_a_burst_each_is_accepted_or_rejected(receiver: Receiver) -> None:
    receiver.wait_for_rest()
    with ExitStack() as stack:
        began = time.monotonic()
        burst = [
            stack.enter_context(Client(receiver.port, source=f"127.0.2.{number % 20 + 1}")).send(associate_rq())
            for number in range(200)
        ]
        answers = [client.pdu()[0] for client in burst]
        assert time.monotonic() - began < 5.0
    assert answers.count(2) + answers.count(3) == 200
    assert 6 <= answers.count(2) <= 8, "the limit, or one less while an association before them is being closed"


def test_idle_associations_cost_next_to_nothing(receiver: Receiver) -> None:
    receiver.wait_for_rest()
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(Client(receiver.port, source=f"127.0.3.{number + 1}")).associate()
        before = receiver.cpu_s()
        time.sleep(2.0)
        assert receiver.cpu_s() - before < 0.4, "threads that look a thousand times a second take more"


def test_associations_that_break_off_leave_no_thread_and_no_descriptor(receiver: Receiver) -> None:
    def break_off(number: int) -> None:
        with Client(receiver.port) as client:
            if number % 3 == 0:
                client.associate().send(ABORT).ended_within(2.0)
            elif number % 3 == 1:
                client.associate()
            else:
                client.send(associate_rq()[: 20 + number])

    receiver.wait_for_rest()
    for number in range(10):
        break_off(number)
    receiver.wait_for_rest()
    descriptors = receiver.descriptors()
    for number in range(150):
        break_off(number)
        if number % 3 == 1:
            time.sleep(0.02)
    receiver.wait_for_rest()
    wait_until("descriptors are closed", lambda: receiver.descriptors() <= descriptors + 2, timeout_s=5)


def test_every_stream_of_the_corpus_ends_in_time_and_the_receiver_still_answers(receiver: Receiver) -> None:
    streams = sorted((SHARED / "corpus").glob("*/*.raw"))
    if not streams:
        pytest.skip("the corpus (../shared/corpus) is not here")
    pid = receiver.pid
    with ExitStack() as stack:
        for number, path in enumerate(streams):
            client = stack.enter_context(Client(receiver.port, source=f"127.0.1.{number + 1}"))
            try:
                client.send(path.read_bytes())
            except ConnectionError:
                continue  # it was cut before all was sent
            client.ended_within(8.0)
    with Client(receiver.port).associate() as client:
        assert client.echo() == 0x0000
    assert receiver.said()["pid"] == pid


def test_the_sop_class_of_the_tests_is_that_of_the_phantom(slices: list[Path]) -> None:
    assert pydicom.dcmread(slices[0]).SOPClassUID == CT
