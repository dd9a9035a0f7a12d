"""The PDUs and messages that the node reads and writes itself, against pynetdicom's own reading and writing of them."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RSP, DIMSEMessage
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ, P_DATA_TF

from node.peers.dimse import pdu
from node.peers.dimse.pdu import Malformed, StoreRequest
from tests.hostile import CT, associate_rq, command

UID = "1.2.826.0.1.3680043.10.1537.7"
REQUEST = StoreRequest(message_id=7, sop_class_uid=CT, sop_instance_uid=UID, has_data_set=True)


def read_back(data: bytes) -> tuple[int, object]:
    """Context and primitive of a response, by pynetdicom; its PDUs may be several."""
    message: DIMSEMessage = C_STORE_RSP()
    at, context, whole = 0, 0, False
    while at < len(data):
        assert not whole
        length = struct.unpack_from(">L", data, at + 2)[0]
        read = P_DATA_TF()
        read.decode(data[at : at + 6 + length])
        at += 6 + length
        primitive = read.to_primitive()
        context = primitive.presentation_data_value_list[0][0]
        whole = message.decode_msg(primitive)
    assert whole
    return context, message.message_to_primitive()


@pytest.mark.parametrize("maximum_bytes", [0, 16384, 40])
@pytest.mark.parametrize(("status", "comment"), [(0x0000, ""), (0xC000, "odd"), (0xA700, "x" * 64)])
def test_a_response_is_what_pynetdicom_reads(status: int, comment: str, maximum_bytes: int) -> None:
    data = pdu.store_response(REQUEST, context=5, status=status, comment=comment, maximum_bytes=maximum_bytes)
    context, said = read_back(data)

    assert context == 5
    assert said.Status == status
    assert said.MessageIDBeingRespondedTo == 7
    assert (said.AffectedSOPClassUID, said.AffectedSOPInstanceUID) == (CT, UID)
    assert (said.ErrorComment or "") == comment
    if maximum_bytes:
        assert struct.unpack_from(">L", data, 2)[0] <= maximum_bytes


def test_a_uid_that_is_too_long_goes_back_to_nobody() -> None:
    wrong = StoreRequest(message_id=1, sop_class_uid=CT, sop_instance_uid="1." * 500, has_data_set=True)

    assert read_back(pdu.store_response(wrong, context=1, status=0x0117))[1].AffectedSOPInstanceUID is None


def test_refusals_are_what_pynetdicom_reads() -> None:
    rejected, aborted = A_ASSOCIATE_RJ(), A_ABORT_RQ()
    rejected.decode(pdu.reject(*pdu.LIMIT_EXCEEDED))
    aborted.decode(pdu.abort(pdu.INVALID_VALUE))

    assert (rejected.result, rejected.source, rejected.reason_diagnostic) == (2, 3, 2)
    assert (aborted.source, aborted.reason_diagnostic) == (2, 6)


def test_titles_come_without_padding() -> None:
    assert pdu.titles(associate_rq(called="A B", calling="C")) == ("A B", "C")
    with pytest.raises(Malformed):
        pdu.titles(associate_rq()[:73])


def test_a_store_request_is_read_and_others_are_told_apart() -> None:
    assert pdu.store_request(command(0x0001, uid=UID, message_id=7)) == REQUEST
    assert pdu.store_request(command(0x0030)) is None


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=8))
def test_a_broken_command_is_called_so(tail: bytes, at: int, patch: bytes) -> None:
    whole = BytesIO(command(0x0001, uid=UID))
    whole.seek(at)
    whole.write(patch)
    for broken in (whole.getvalue() + tail, tail):
        try:
            found = pdu.store_request(broken)
        except Malformed:
            continue
        assert found is None or isinstance(found, StoreRequest)
