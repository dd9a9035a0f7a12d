"""A peer that answers the node's calls with what no peer should: each ends soon, in words, and takes no memory."""

import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification

from node.demo.phantom import make_series
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.peers.carrier import Broken, Unreachable
from node.peers.dimse import message as dimse_message
from node.peers.dimse import query as dimse_query
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address
from node.peers.dimse.fragments import COMMAND, cut
from node.peers.dimse.message import Command, Field
from tests.delivering import CT
from tests.peers import HOST

ECHO_RSP = {Field.COMMAND: Command.C_ECHO_RSP, Field.RESPONDED_TO: 1, Field.DATA_SET_TYPE: 0x0101, Field.STATUS: 0}
STORE_RSP = {**ECHO_RSP, Field.COMMAND: Command.C_STORE_RSP}


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def fragment(data: bytes, *, context: int = 1, control: int = 3) -> bytes:
    return pdu(4, struct.pack(">LBB", len(data) + 2, context, control) + data)


def message(values: dimse_message.Values) -> bytes:
    return b"".join(cut(1, memoryview(dimse_message.encode(values)), size=1 << 16, control=COMMAND, last=True))


def acceptance(request: bytes, *, maximum_pdu: int = 16384) -> bytes:
    """The A-ASSOCIATE-AC that takes everything."""
    asked = A_ASSOCIATE_RQ()
    asked.decode(request)
    primitive: A_ASSOCIATE = asked.to_primitive()
    contexts = primitive.presentation_context_definition_list
    for context in contexts:
        context.transfer_syntax, context.result = [context.transfer_syntax[0]], 0
    primitive.presentation_context_definition_results_list = contexts
    primitive.user_information = [i for i in primitive.user_information if not isinstance(i, MaximumLengthNotification)]
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum_pdu
    primitive.user_information = [length, *primitive.user_information]
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    return answer.encode()


@contextmanager
def peer(say: Callable[[bytes], bytes], then: bytes = b"", *, close: bool = False) -> Iterator[Address]:
    """Answers the association request with `say(request)`, whatever comes next with `then`."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(ConnectionError):  # the node may be done with it sooner
                head = connection.recv(6, socket.MSG_WAITALL)
                body = connection.recv(struct.unpack(">BBL", head)[2], socket.MSG_WAITALL)
                connection.sendall(say(head + body))
                if then:
                    connection.recv(1)
                    connection.sendall(then)
                while not close and connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address(
            host=HOST, port=server.getsockname()[1], called_ae="PEER", calling_ae="NODE", connect_s=2.0, response_s=1.0,
            implementation_uid=IMPLEMENTATION_CLASS_UID,
        )  # fmt: skip
        thread.join(5.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "PDU of"),
        (struct.pack(">BBL", 2, 0, 0xFFFFFFFF), "PDU of 4294967295 bytes"),
        (pdu(2, b"\xff" * 100), "cannot be read"),
        (pdu(3, b"\0\2\3\2"), "Rejected Transient"),
        (pdu(7, b"\0\0\0\0"), "aborted"),
        (pdu(4, b"\0\0\0\0"), "PDU type 4"),
        (b"\2\0\0\0", "did not answer in time"),
    ],
)
def test_what_is_no_acceptance_is_said_in_words(answer: bytes, said: str) -> None:
    began = time.monotonic()
    with peer(lambda _: answer) as address, pytest.raises(Unreachable, match=said):
        dimse_query.echo(address)
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (struct.pack(">BBL", 4, 0, 0xFFFFFFF0), "a PDU of"),
        (pdu(4, b"\0\0\0\2\1"), "without a whole fragment"),
        (pdu(4, struct.pack(">LBB", 4000, 1, 3)), "a fragment of 4000 bytes"),
        (fragment(b"", context=99), "context 99"),
        (fragment(b"\0" * 8, control=0), "data set without a command"),
        (fragment(b"\0\0\0\1\xff\xff\xff\xff"), "longer than the command set"),
        (fragment(b"\x08\0\0\0\0\0\0\0"), "group 0000"),
        (fragment(b"\0" * 9), "cut off"),
        (fragment(b"\0" * 16000, control=1) * 3, "more than 16384 bytes"),
        (pdu(5, b"\0\0\0\0"), "released"),
        (pdu(7, b"\0\0\0\0"), "aborted"),
        (message({**ECHO_RSP, Field.STATUS: 0x0110}), "not answer it with success"),
    ],
)
def test_what_is_no_answer_is_said_in_words_and_takes_no_memory(answer: bytes, said: str) -> None:
    tracemalloc.start()
    try:
        with peer(acceptance, answer) as address, pytest.raises(Unreachable, match=said):
            dimse_query.echo(address)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_right_answer_is_taken() -> None:
    with peer(acceptance, message(ECHO_RSP)) as address:
        dimse_query.echo(address)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (message({**STORE_RSP, Field.RESPONDED_TO: 7}), "answered message 7, not 1"),
        (message({**STORE_RSP, Field.COMMAND: Command.C_FIND_RSP}), "something else"),
        (message({key: value for key, value in STORE_RSP.items() if key != Field.STATUS}), "something else"),
    ],
)
def test_an_answer_to_something_else_confirms_nothing(tmp_path: Path, answer: bytes, said: str) -> None:
    (path,) = make_series(tmp_path, slices=1)
    answers: list[int] = []
    with peer(acceptance, answer) as address, pytest.raises(Broken, match=said):
        dimse_send.send(
            address, [(CT, path)], before=lambda _: None, answered=lambda _, status: answers.append(status) is None
        )
    assert answers == []


def test_a_peer_that_goes_away_in_the_middle_of_an_object_ends_the_call(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, slices=1)
    with peer(acceptance, b"\0", close=True) as address, pytest.raises(Broken, match="0 of 1 instances"):
        dimse_send.send(address, [(CT, path)], before=lambda _: None, answered=lambda *_: True)


def test_pdus_too_small_to_be_of_use_are_refused() -> None:
    with (
        peer(lambda request: acceptance(request, maximum_pdu=64)) as address,
        pytest.raises(Unreachable, match="of 64"),
    ):
        dimse_query.echo(address)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(Field)), st.integers(0, 0xFFFF)), st.binary(max_size=64))
def test_command_sets_survive_the_wire_and_any_bytes_are_read_or_refused(
    numbers: dict[Field, int], noise: bytes
) -> None:
    texts = {
        Field.AFFECTED_CLASS, Field.REQUESTED_CLASS, Field.AFFECTED_INSTANCE, Field.REQUESTED_INSTANCE,
        Field.MOVE_DESTINATION, Field.ERROR_COMMENT,
    }  # fmt: skip
    values: dict[Field, int | str] = {key: f"1.2.{n}" if key in texts else n for key, n in numbers.items()}
    values[Field.COMMAND] = 1
    assert dimse_message.decode(dimse_message.encode(values)) == values
    with suppress(ValueError):
        dimse_message.decode(noise)
