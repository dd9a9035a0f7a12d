"""A sender that was turned away with some objects and released all the same is not done with its series."""

import socket
import threading
from pathlib import Path

import pytest
from pynetdicom import AE

from node.demo.phantom import make_series
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.intake.incoming import Head, Rejected, Status
from node.peers.dimse.listener import Listener, Listening
from node.peers.dimse.sink import Incoming
from node.records.database import Records, migrate
from node.settings import Peer, Receiver
from node.spool import Spool
from node.stages.receive import Intake
from tests.senders import associate, store


@pytest.mark.parametrize(
    ("refusal", "done"),
    [(None, True), (Status.OUT_OF_RESOURCES, False), (Status.INTERNAL_FAILURE, False), (Status.UNREADABLE, True)],
)
def test_an_association_with_objects_turned_away_for_now_does_not_count_as_released(
    tmp_path: Path, refusal: Status | None, done: bool
) -> None:
    files = make_series(tmp_path / "scan", slices=3)
    state = tmp_path / "state"
    spool = Spool(state, reserve_bytes=0)
    spool.prepare()
    migrate(state)
    records = Records(state)
    intake = Intake(
        spool,
        records,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        maximum_bytes=1 << 30,
        clock=lambda: 1000.0,
        same_pixels=lambda *_: False,
    )
    came: list[Head] = []
    ended: list[bool] = []
    over = threading.Event()

    def begin(head: Head) -> Incoming:
        came.append(head)
        if refusal is not None and len(came) == 2:
            raise Rejected(refusal, "as the test says")
        return intake.begin(head)

    def closed(_: str, released: bool) -> None:
        ended.append(released)
        over.set()

    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(
        Receiver(ae_title="NODE", host="127.0.0.1", port=0),
        [Peer(name="other", ae_title="OTHER", addresses=("127.0.0.1",))],
        Listening(
            begin=begin,
            opened=lambda *_: None,
            closed=closed,
            refused=lambda _: None,
            answered=lambda *_: None,
        ),
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        state=state,
        plain=listening,
    )
    try:
        opened = associate(listener.port, files, called="NODE")
        assert isinstance(opened.ae, AE)
        answers = [store(opened, path) for path in files]
        opened.release()
        assert over.wait(10)
    finally:
        listener.close()
        intake.close()
        records.close()

    assert answers == [0, int(refusal or 0), 0]
    assert ended == [done]
