"""Flags by HL7 to real sockets: told until acknowledged, once for whoever knows repetitions, whatever breaks."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from hl7.mllp import start_hl7_server

from node.errors import BadSetting
from node.metrics import METRICS
from node.peers.hl7 import Hl7Teller
from node.peers.tls import server_context
from node.records import notices, triages
from node.records.database import Records
from node.records.states import NoticeState
from node.settings.tls import Tls
from node.settings.web import WebTls
from node.worklist.flags import control_id, queue_flag
from node.worklist.notices import Notices
from tests.authority import Authority
from tests.mllp_peer import (
    MllpPeer,
    answers,
    control_id_of,
    drops,
    for_another,
    in_pieces,
    late_one_first,
    parsed,
    says,
    silent,
    takes,
)
from tests.peers import HOST, free_port, wait_until
from tests.telling import hl7_channel, raise_flag, rows, states, tell, telling
from tests.verdicts import FACTS, add_verdict, new_records


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path)) as found:
        yield found


def test_flag_is_acknowledged_and_the_acknowledgement_is_recorded(records: Records) -> None:
    with MllpPeer(answers("AA", "stored as 17")) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris])
        before = METRICS.triage_flag_to_acknowledgement.labels(channel="ris")._sum.get()
        tell(records, [ris])

    (row,) = rows(records)
    assert row["state"] == NoticeState.DELIVERED
    assert row["answer"] == "AA stored as 17"
    assert row["since"] <= row["delivered_at"] <= time.time()
    assert METRICS.triage_flag_to_acknowledgement.labels(channel="ris")._sum.get() > before
    with records.read() as connection:
        found = triages.get(connection, "job-1")
    assert found is not None
    assert found["acknowledged_at"] == row["delivered_at"]
    assert parsed(peer.received[0]).segment("PID")[3][0][0][0] == "4711"


@pytest.mark.parametrize("step", [in_pieces, late_one_first], ids=["in pieces", "late one first"])
def test_acknowledgement_is_understood_however_it_comes(records: Records, step: Any) -> None:
    with MllpPeer(step) as peer:
        raise_flag(records, [hl7_channel(peer.port)])
        tell(records, [hl7_channel(peer.port)])

        assert len(peer.received) == 1
    assert states(records) == [NoticeState.DELIVERED]


@pytest.mark.parametrize(
    "step",
    [drops, silent, for_another, says(b"\x0bno hl7\x1c\r"), says(b"x" * 100_000), says(b"")],
    ids=["drops", "silent", "for another", "no hl7", "endless", "nothing"],
)
def test_without_an_acknowledgement_the_same_message_comes_again(records: Records, step: Any) -> None:
    with MllpPeer(step, step, takes) as peer:
        ris = hl7_channel(peer.port, response_timeout_s=0.4)
        raise_flag(records, [ris])
        tell(records, [ris])

        assert len(peer.received) >= 3
        assert len(set(peer.received)) == 1, "byte for byte"
        assert len(peer.processed) == 1
    assert rows(records)[0]["attempts"] >= 3


def test_receiver_that_was_down_gets_the_message_afterwards_once(records: Records) -> None:
    port = free_port()
    ris = hl7_channel(port)
    raise_flag(records, [ris])
    with telling(records, [ris]) as until:
        until("attempts fail", lambda: rows(records)[0]["attempts"] >= 3)
        assert states(records) == [NoticeState.WAITING], "nothing was sent"
        with MllpPeer(takes, port=port) as peer:
            until("it is told", lambda: states(records) == [NoticeState.DELIVERED])
            assert len(peer.received) == 1
            assert peer.processed == [control_id_of(peer.received[0])]


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_refusal_is_repeated_some_times_and_then_an_alarm(records: Records, code: str) -> None:
    with MllpPeer(answers(code, "unknown patient")) as peer:
        ris = hl7_channel(peer.port, refusals=3)
        raise_flag(records, [ris])
        with telling(records, [ris]) as until:
            until("it is given up, with an alarm", lambda: rows(records)[0]["alarmed_at"] is not None)

        assert len(peer.received) == 3
    (row,) = rows(records)
    assert row["state"] == NoticeState.DEAD
    assert row["answer"] == f"{code} unknown patient"
    assert row["trouble"] == f"ris: answered {code}.", "what the receiver says may name a patient"


def test_identifier_that_cannot_be_written_ends_it_at_once_with_an_alarm(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port, character_set="8859/1")
        with records.write() as connection:
            row = add_verdict(connection, "job-1", decided_at=time.time())
            queue_flag(connection, row, [ris], {**FACTS, "patient_id": "\u5c71-1"})
        with telling(records, [ris]) as until:
            until("alarm", lambda: rows(records)[0]["alarmed_at"] is not None)
        assert peer.received == []
    assert states(records) == [NoticeState.DEAD]


def test_receiver_that_refuses_at_first_gets_it_when_it_is_well(records: Records) -> None:
    with MllpPeer(answers("AE"), takes) as peer:
        raise_flag(records, [hl7_channel(peer.port)])
        tell(records, [hl7_channel(peer.port)])
    assert states(records) == [NoticeState.DELIVERED]


def test_silent_receiver_holds_up_no_other_channel(records: Records) -> None:
    with MllpPeer(silent) as dead, MllpPeer(takes) as well:
        channels = [hl7_channel(dead.port, "dead", response_timeout_s=30.0), hl7_channel(well.port, "well")]
        raise_flag(records, channels)
        with telling(records, channels) as until:
            until("the other is told", lambda: set(states(records)) == {NoticeState.SENT, NoticeState.DELIVERED})


def test_message_that_a_receiver_never_answers_holds_up_no_other_message(records: Records) -> None:
    def poisoned(peer: MllpPeer, connection: Any, message: bytes) -> bool:
        poison = b"^^^MR" not in message and b"4711" in message and control_id_of(message) == first[0]
        return silent(peer, connection, message) if poison else takes(peer, connection, message)

    first: list[str] = []
    with MllpPeer(poisoned) as peer:
        ris = hl7_channel(peer.port, response_timeout_s=0.1)
        raise_flag(records, [ris], "job-1")
        first.append(rows(records)[0]["control_id"])
        raise_flag(records, [ris], "job-2")
        with telling(records, [ris]) as until:
            until("the second is told", lambda: states(records, "job-2") == [NoticeState.DELIVERED])
        assert states(records) == [NoticeState.SENT]


def test_alarm_comes_when_nobody_acknowledged_in_time_and_ends_with_the_acknowledgement(records: Records) -> None:
    port = free_port()
    ris = hl7_channel(port)
    raise_flag(records, [ris], decided_at=time.time() - 59.0)
    with telling(records, [ris]) as until:
        until("an attempt failed", lambda: rows(records)[0]["attempts"] >= 1)
        with records.read() as connection:
            assert notices.alarms(connection) == {"ris": 0}, "59 s are no minute"
        until("alarm", lambda: rows(records)[0]["alarmed_at"] is not None)
        with records.read() as connection:
            assert notices.alarms(connection) == {"ris": 1}
        with MllpPeer(takes, port=port):
            until("it is told", lambda: states(records) == [NoticeState.DELIVERED])
    with records.read() as connection:
        assert notices.alarms(connection) == {"ris": 0}


def test_verdicts_go_to_the_channels_that_want_them(records: Records) -> None:
    usual, all_of_them = hl7_channel(1), hl7_channel(2, "all", negatives=True)
    for job_id, said in (("a", "FLAG_RAISED"), ("b", "NOT_ANALYSABLE"), ("c", "FLAG_NOT_RAISED")):
        raise_flag(records, [usual, all_of_them], job_id, flag=said)

    assert [[row["channel"] for row in rows(records, job)] for job in "abc"] == [
        ["ris", "all"],
        ["ris", "all"],
        ["all"],
    ]


def test_flag_is_queued_once(records: Records) -> None:
    ris = hl7_channel(1)
    raise_flag(records, [ris])
    (before,) = rows(records)
    with records.write() as connection:
        found = triages.get(connection, "job-1")
        assert found is not None
        queue_flag(connection, found, [ris], FACTS)

    assert rows(records) == [before]


def test_second_start_sends_nothing_that_was_acknowledged(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris])
        tell(records, [ris])
        raise_flag(records, [ris], "job-2")
        tell(records, [ris], "job-2")
        assert len(peer.received) == 2


def test_channel_that_the_settings_no_longer_name_is_given_up_until_it_is_replayed(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris])
        with Notices(records, [], clock=time.time):
            assert states(records) == [NoticeState.DEAD]
        with records.write() as connection:
            assert notices.replay(connection, "job-1", at=time.time()) == ["ris"]
        tell(records, [ris])
        assert states(records) == [NoticeState.DELIVERED]


def test_notice_is_given_up_after_days(records: Records) -> None:
    ris = hl7_channel(free_port(), retry_hours=1.0)
    raise_flag(records, [ris], decided_at=time.time() - 3700.0)
    tell(records, [ris])

    assert states(records) == [NoticeState.DEAD]


def test_clock_that_was_set_back_stops_nothing(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris], decided_at=time.time() + 86_400.0)
        tell(records, [ris])
    assert states(records) == [NoticeState.DELIVERED]


_SENDER = """
import sys, time
from pathlib import Path
from node.peers.hl7 import Hl7Teller
from node.records.database import Records
from node.settings.flags import Hl7Channel
from node.worklist.notices import Notices
ris = Hl7Channel.model_validate_json(sys.argv[2])
with Notices(Records(Path(sys.argv[1])), [(ris, Hl7Teller(ris))], clock=time.time) as told:
    while True:
        told.tick()
        time.sleep(0.02)
"""


def test_sender_that_is_killed_before_the_acknowledgement_goes_on_with_the_same_message(
    records: Records, tmp_path: Path
) -> None:
    with MllpPeer(silent, takes) as peer:
        ris = hl7_channel(peer.port, response_timeout_s=60.0)
        raise_flag(records, [ris])
        sender = subprocess.Popen([sys.executable, "-c", _SENDER, str(tmp_path), ris.model_dump_json()])
        try:
            wait_until("it is sent", lambda: len(peer.received) == 1, timeout_s=30)
        finally:
            os.kill(sender.pid, signal.SIGKILL)
            sender.wait(10)
        assert states(records) == [NoticeState.SENT]
        tell(records, [ris])

        assert len(peer.received) == 2
        assert peer.received[0] == peer.received[1]
        assert len(peer.processed) == 1


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_tls_with_certificates_on_both_sides(records: Records, authority: Authority) -> None:
    ris, ours = authority.sign("ris"), authority.sign("node")
    context = server_context(Tls(certificate=ris.certificate, key=ris.key, ca=ris.ca))
    with MllpPeer(takes, context=context) as peer:
        mine = WebTls(ca=ours.ca, certificate=ours.certificate, key=ours.key)
        good = hl7_channel(peer.port, tls=mine)
        raise_flag(records, [good])
        tell(records, [good])

    assert states(records) == [NoticeState.DELIVERED]


def test_nothing_is_sent_to_a_receiver_whose_certificate_nobody_vouches_for(
    records: Records, authority: Authority
) -> None:
    alone = authority.sign_oneself("alone")
    context = server_context(Tls(certificate=alone.certificate, key=alone.key, ca=alone.ca))
    with MllpPeer(takes, context=context) as peer:
        bad = hl7_channel(peer.port, tls=WebTls(ca=alone.ca))
        raise_flag(records, [bad])
        with telling(records, [bad]) as until:
            until("attempts fail", lambda: rows(records)[0]["attempts"] >= 2)

        assert peer.received == []
    assert states(records) == [NoticeState.WAITING]
    assert rows(records)[0]["trouble"] == "ris: TLS failed."


def test_certificate_that_is_missing_is_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        Hl7Teller(hl7_channel(1, tls=WebTls(ca=tmp_path / "none.pem")))


class LibraryReceiver:
    """The MLLP server of python-hl7, which frames, parses and acknowledges by code that is none of ours."""

    def __enter__(self) -> Self:
        self.received: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._wait(start_hl7_server(self._take, host=HOST, port=0, encoding="utf-8"))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._wait(self._server.wait_closed())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coming: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coming, self._loop).result(20)

    async def _take(self, reader: Any, writer: Any) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await reader.readmessage()
                self.received.append(message)
                writer.writemessage(message.create_ack())
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def test_receiver_of_another_make_reads_the_message_and_is_understood(records: Records) -> None:
    with LibraryReceiver() as receiver:
        ris = hl7_channel(receiver.port)
        with records.write() as connection:
            row = add_verdict(connection, "job-1", decided_at=time.time())
            queue_flag(connection, row, [ris], {**FACTS, "names": ["Müller^Zoë", "山田^太郎", ""]})
        tell(records, [ris])

        (message,) = receiver.received
    assert str(message.segment("PID")[5]) == "Müller^Zoë^^^^^L^A~山田^太郎^^^^^L^I"
    assert message["OBX.F5.R1.C1"] == "FLAG_RAISED"
    assert rows(records)[0]["answer"] == "AA"


def test_patient_is_forgotten_when_the_files_are_purged(records: Records) -> None:
    with MllpPeer(takes) as peer:
        raise_flag(records, [hl7_channel(peer.port)])
        with records.write() as connection:
            notices.forget(connection, "job-1")
        assert rows(records)[0]["body"]["subject"]["patient_id"] == "4711", "it is still to be told"
        tell(records, [hl7_channel(peer.port)])
    with records.write() as connection:
        notices.forget(connection, "job-1")
    told = str(rows(records)[0]["body"])
    assert "4711" not in told
    assert "DOE" not in told
    assert "A-100" in told


def test_control_ids_are_short_and_the_same_every_time() -> None:
    first = control_id("job", "flag", "ris")

    assert first == control_id("job", "flag", "ris")
    assert first != control_id("job", "fla", "gris")
    assert len(first) == 20
    assert first.isalnum()
