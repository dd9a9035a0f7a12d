"""A running node opens and calls what its port sheet says and nothing else, and names no patient where it must not."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.demo.phantom import make_series
from node.papers.connections import connections
from node.papers.facts import Connections
from tests.peers import HOST, StoreScp, dcmsend, free_port, wait_until, which_or_skip
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.system_calls import traced

pytestmark = pytest.mark.peers
CANARY = {"PatientName": "Canary^Yellow", "PatientID": "CANARY-4711", "PatientBirthDate": "19010203"}
_LISTENS = "0A"  # state of a socket in /proc/net/tcp
_CONNECT = re.compile(r"connect\(.*?\{sa_family=(AF_\w+)(.*?)\}")
_PORT, _ADDRESS = re.compile(r"port=htons\((\d+)\)"), re.compile(r"\"([\d.]+|[0-9a-f:]*:[0-9a-f:]*)\"")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen of a node that took a series, made one and delivered it.

    listening: (address, port) of its TCP ports; `udp`: how many UDP sockets it had
    called:    (address, port) that its processes connected to, with the families of all their sockets
    """

    sheet: Connections
    folder: Path
    listening: set[tuple[str, int]]
    udp: int
    called: set[tuple[str, int]]
    families: set[str]
    page: str
    log: str


# With one of these ONNX Runtime keeps silent by itself, and the comparison would not see it speak.
_SILENCING = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "TF_BUILD", "GITHUB_ACTIONS")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("papers")
    files = make_series(folder / "phantom", slices=4)
    for path in files:
        image = pydicom.dcmread(path)
        for keyword, value in CANARY.items():
            setattr(image, keyword, value)
        image.save_as(path)
    with pytest.MonkeyPatch.context() as environment, StoreScp(folder / "archive") as archive:
        for name in _SILENCING:
            environment.delenv(name, raising=False)
        raw: dict[str, Any] = settings_for(folder, destinations=[archive])
        raw["stow"] = {"host": HOST, "port": free_port(), "senders": [{"ae_title": "WEB"}]}
        # Nobody is at home there: that it is called is enough.
        raw["sources"] = [{"kind": "orthanc", "name": "gateway", "url": f"http://{HOST}:{free_port()}", "poll_s": 0.3}]
        with RunningNode(folder, raw) as node:
            wait_until("every part listens", lambda: len(listening(node)) == 3)
            pids = list(node.pids().values())
            with traced(pids, folder / "trace", "-e", "trace=connect"):
                dcmsend(node.port, files, called=AE_TITLE)
                node.wait_settled(1)
                time.sleep(0.4)  # the source is asked again while it is looked at
            calls = _CONNECT.findall((folder / "trace").read_text(encoding="utf-8"))
            inet = [text for family, text in calls if family.startswith("AF_INET")]
            yield Run(
                sheet=connections(node.settings),
                folder=folder,
                listening=listening(node),
                udp=len(_sockets(node, "udp") + _sockets(node, "udp6")),
                called={(_ADDRESS.findall(text)[0], int(_PORT.findall(text)[0])) for text in inet},
                families={family for family, _ in calls},
                page=node.metrics(),
                log=node.log.read_text(encoding="utf-8"),
            )
        assert len(archive.files()) == len(files)


def listening(node: RunningNode) -> set[tuple[str, int]]:
    """Address and port of every TCP socket on which a process of the node listens."""
    found = set()
    for fields in (*_sockets(node, "tcp"), *_sockets(node, "tcp6")):
        address, _, port = fields[1].partition(":")
        if fields[3] == _LISTENS:
            found.add((".".join(str(byte) for byte in reversed(bytes.fromhex(address[-8:]))), int(port, 16)))
    return found


def _sockets(node: RunningNode, kind: str) -> list[list[str]]:
    """Lines of /proc/net/KIND whose socket one of the node's processes holds."""
    inodes = set()
    for pid in node.pids().values():
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
            except OSError:
                continue  # it was closed meanwhile
    lines = Path(f"/proc/net/{kind}").read_text(encoding="ascii").splitlines()[1:]
    return [fields for fields in map(str.split, lines) if fields[9] in inodes]


def unexplained(found: Connections, opened: set[tuple[str, int]], called: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Sockets of a node that its sheet does not name, and ports of the sheet that it does not open."""
    listed = {(one.host, one.port) for one in found.listeners}
    return (opened ^ listed) | (called - {(one.host, one.port) for one in found.called})


def test_it_opens_and_calls_exactly_what_its_sheet_says(run: Run) -> None:
    assert unexplained(run.sheet, run.listening, run.called) == set()
    assert {(one.host, one.port) for one in run.sheet.called} == run.called
    assert run.udp == 0
    assert run.families <= {"AF_INET", "AF_UNIX"}  # AF_UNIX: the system's own cache of names


def test_the_comparison_sees_a_port_or_a_call_too_many_or_too_few(run: Run) -> None:
    (first, *_) = run.listening

    assert unexplained(run.sheet, run.listening | {(HOST, 1)}, run.called) == {(HOST, 1)}
    assert unexplained(run.sheet, run.listening - {first}, run.called) == {first}
    assert unexplained(run.sheet, run.listening, run.called | {("203.0.113.1", 443)}) == {("203.0.113.1", 443)}


def test_no_patient_is_named_in_logs_metrics_file_names_or_headers_of_the_records(run: Run) -> None:
    state = run.folder / "state"
    names = " ".join(str(path) for path in state.rglob("*"))
    kept = b"".join(path.read_bytes() for path in state.glob("*.sqlite*"))
    received = b"".join(path.read_bytes() for path in (state / "spool" / "in").rglob("*") if path.is_file())

    assert b"Canary" in received, "the control: the images name who it is"
    words = ["Canary", "CANARY", "4711", "19010203"]
    assert [word for word in words if word in run.log or word in run.page or word in names] == []
    assert [word for word in words[:2] + words[3:] if word.encode() in kept] == []


def calls_of(command: list[str], trace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command and its children connect to by IP, as strace prints it."""
    for name in _SILENCING:
        monkeypatch.delenv(name, raising=False)
    watched = [which_or_skip("strace"), "-f", "--seccomp-bpf", "-e", "trace=connect", "-o", str(trace), *command]
    done = subprocess.run(watched, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in trace.read_text(encoding="utf-8").splitlines() if "sa_family=AF_INET" in line]


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_no_library_that_runs_networks_calls_its_makers(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "node", "engines", "verify", "ct_denoise", "--backend", backend]

    assert calls_of(command, tmp_path / "trace", monkeypatch) == []


def test_a_call_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", f"import socket; socket.socket().connect_ex(({HOST!r}, {free_port()}))"]

    assert len(calls_of(command, tmp_path / "trace", monkeypatch)) == 1
