"""Objects of any size: streamed to the disk, never whole in memory, and gone when the sender gives up."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.dicom.scan import scan
from node.dicom.source import File
from tests.giants import Giant, element, open_association, send
from tests.hostile import Client
from tests.peers import wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for

GIB = 1 << 30
MOST_RESIDENT = 300 << 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("giants")
    with RunningNode(folder, settings_for(folder, receiver={"processes": 2})) as running:
        yield running


def peak_bytes(node: RunningNode) -> int:
    """Highest resident memory of all receiver processes and their children, added up."""
    found = 0
    for part, pid in node.pids().items():
        if part.startswith(("receiver", "child of receiver")):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            peak = re.search(r"VmHWM:\s+(\d+) kB", status)
            assert peak is not None
            found += int(peak[1]) << 10
    return found


def spooled(node: RunningNode, folder: str) -> list[Path]:
    root = node.settings.node.state.absolute() / "spool" / folder
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "giant",
    [Giant(uid="1.2.826.77.1", frames=2048), Giant(uid="1.2.826.77.2", frames=600, fragments=True)],
    ids=["1 GiB, uncompressed", "300 MiB, encapsulated"],
)
def test_a_giant_is_received_in_bounded_memory(node: RunningNode, giant: Giant) -> None:
    with Client(node.port, timeout_s=180.0) as client:
        open_association(client, giant, called=AE_TITLE, calling="OTHER")
        size = send(client, giant)
        assert client.status() == 0x0000
    stored = node.received(giant.uid)

    assert size > giant.frames * 512 * 512 * 2
    assert stored.stat().st_size - size in range(250, 500)  # File Meta Information
    assert peak_bytes(node) < MOST_RESIDENT
    stored.unlink()  # the disk of the tests is everybody's


def test_a_giant_that_breaks_off_leaves_nothing(node: RunningNode) -> None:
    before = set(spooled(node, "in"))
    giant = Giant(uid="1.2.826.77.3", frames=2048)
    with Client(node.port) as client:
        open_association(client, giant, called=AE_TITLE, calling="OTHER")
        send(client, giant, at_most=64 << 20)
        wait_until("it is being written", lambda: any(path.stat().st_size > 1 << 20 for path in spooled(node, "aside")))
    wait_until("nothing of it is left", lambda: not spooled(node, "aside"))

    assert set(spooled(node, "in")) == before


def test_an_object_of_four_gibibytes_is_scanned_by_its_last_byte(tmp_path: Path) -> None:
    """The largest length of four bytes: a sparse file, so that the disk holds its header only."""
    longest = 0xFFFFFFFE
    head = element(0x00080060, b"CS", b"CT") + element(0x7FE00010, b"OW", b"", length=longest)
    tail = element(0xFFFCFFFC, b"OB", b"\0\0")
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + longest)
        file.write(tail)
    with path.open("rb") as file:
        source = File(file.fileno(), 0)
        found = scan(source, Giant(uid="1.2.3", frames=1).transfer_syntax)

    assert source.size == len(head) + longest + len(tail)
    assert found.header == {"Modality": ("CT",)}
