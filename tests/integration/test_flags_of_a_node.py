"""A running node tells verdicts though its worker is killed before the acknowledgement and a receiver is down."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from node.commands import check
from node.commands.flags import flags
from node.commands.flags import text as in_words
from node.records import notices
from node.records.database import Records
from node.settings import parse
from node.worklist.flags import queue_flag
from tests.mllp_peer import MllpPeer, silent, takes
from tests.peers import HOST, free_port, wait_until
from tests.running_node import RunningNode, cli, settings_for
from tests.verdicts import FACTS, add_verdict


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running node; a receiver that is silent once and then well; another one that is down: the port it will have."""

    node: RunningNode
    peer: MllpPeer
    down: int

    def records(self) -> Records:
        return Records(self.node.settings.node.state.absolute())

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.node.settings.page.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def state(self, job_id: str, channel: str) -> str:
        with closing(self.records()) as records, records.read() as connection:
            (row,) = [row for row in notices.of_job(connection, job_id) if row["channel"] == channel]
            return str(row["state"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, down = tmp_path_factory.mktemp("site"), free_port()
    with MllpPeer(silent, takes) as peer:
        usual = {"host": HOST, "retry_longest_s": 0.5, "alarm_s": 0.5}
        channels = [
            {"name": "ris", "port": peer.port, "response_timeout_s": 60.0, **usual},
            {"name": "down", "port": down, **usual},
        ]
        with RunningNode(folder, settings_for(folder, worklist={"hl7": channels})) as node:
            yield Site(node=node, peer=peer, down=down)


def test_verdict_is_told_once_though_the_worker_is_killed_and_a_receiver_is_down(site: Site) -> None:
    with closing(site.records()) as records, records.write() as connection:
        row = add_verdict(connection, "job-1", decided_at=time.time())
        queue_flag(connection, row, site.node.settings.worklist.channels, FACTS)
    wait_until("it is sent", lambda: len(site.peer.received) == 1)
    site.node.kill("worker")
    wait_until("it is acknowledged", lambda: site.state("job-1", "ris") == "delivered", timeout_s=60)
    assert site.peer.received[0] == site.peer.received[1]
    assert len(site.peer.processed) == 1

    wait_until("alarm", lambda: site.get("/health/alarms") == (503, '{"alarms":{"down":1}}'))
    assert site.get("/health/ready")[0] == 200, "the node itself serves"
    assert 'imaging_node_notice_alarm{channel="down"} 1.0' in site.get("/metrics")[1]
    status, text, _ = cli("flags", "-c", site.node.file, "--json")
    assert status == 1
    assert json.loads(text)["alarms"] == {"down": 1}
    looked = check._told(site.node.settings)  # the rest of the command runs every network
    faults = [line.text for line in looked if line.what == "channel down" and line.good is False]
    assert len(faults) == 2, "nobody is there, and an alarm"

    with MllpPeer(takes, port=site.down) as late:
        wait_until("the other one has it", lambda: site.state("job-1", "down") == "delivered")
        assert len(late.received) == 1
    assert site.get("/health/alarms")[0] == 200
    assert 'imaging_node_triage_flag_to_acknowledgement_seconds_count{channel="ris"} 1.0' in site.get("/metrics")[1]
    with closing(site.records()) as records:
        found = flags(records, limit=5)
    assert found["alarms"] == {}
    assert [one["state"] for one in found["verdicts"][0]["notices"]] == ["delivered", "delivered"]
    assert "DOE" not in json.dumps(found) + site.node.log.read_text(encoding="utf-8")
    shown = Console(width=200)
    with shown.capture() as said:
        shown.print(in_words(found))
    assert "ris flag: acknowledged after" in said.get()


def test_certificate_that_is_not_there_keeps_the_node_from_starting(tmp_path: Path) -> None:
    channel = {"name": "ris", "host": HOST, "port": 2575, "tls": {"ca": str(tmp_path / "none.pem")}}
    raw = settings_for(tmp_path, worklist={"hl7": [channel]})
    assert parse(raw, source="the test")
    file = RunningNode(tmp_path, raw).file

    status, _, trouble = cli("run", "-c", file)

    assert status == 2
    assert "none.pem" in trouble
