"""What stands on the disk before an answer goes out, and what is answered when the disk does not play along."""

import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from node.demo.phantom import make_series
from tests.peers import dcmsend, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.senders import associate, store
from tests.system_calls import CALLS, Event, Step, broken_promises, events, traced

ANSWERS, ASSOCIATIONS = 56, 8


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=ANSWERS)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, phantom: list[Path]) -> list[Event]:
    """The calls of a node with two receiver processes while eight senders get their answers."""
    folder = tmp_path_factory.mktemp("traced")
    raw = settings_for(folder, receiver={"processes": 2, "maximum_associations": 20})
    with RunningNode(folder, raw) as node:
        receivers = [pid for part, pid in node.pids().items() if part.startswith("receiver")]
        assert len(receivers) == 2
        trace = folder / "trace"
        with traced(receivers, trace, "-e", f"trace={CALLS}", "-s", "16"):
            sent = dcmsend(node.port, phantom, called=AE_TITLE, associations=ASSOCIATIONS)
            assert sum(one.stored for one in sent) == ANSWERS
            wait_until("the renames are in the trace", lambda: trace.read_text().count("renam") >= ANSWERS)
    return events(trace.read_text(errors="replace"))


def test_success_comes_after_file_folder_and_record_are_synced(seen: list[Event]) -> None:
    """RELIABILITY §5 d, test 1: the order of system calls before each answer."""
    assert sum(event.step is Step.ANSWER for event in seen) == ANSWERS
    assert len({event.subject.partition("-")[0] for event in seen if event.step is Step.RENAME}) == 2

    assert broken_promises(seen) == []


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (Step.FILE, "not synced whole"),
        (Step.RENAME, "no file was renamed"),
        (Step.FOLDER, "the folder was not synced"),
        (Step.RECORD, "the record was not synced"),
    ],
)
def test_the_check_would_see_a_node_that_leaves_a_step_out(seen: list[Event], lacking: Step, said: str) -> None:
    faults = broken_promises([event for event in seen if event.step is not lacking])

    assert len(faults) == ANSWERS
    assert all(said in fault for fault in faults)


def test_the_check_would_see_an_answer_that_comes_too_early(seen: list[Event]) -> None:
    first = next(event for event in seen if event.step is Step.RECORD)
    early = [
        replace(event, began=first.began - 1) if event.step is Step.ANSWER and event.began > first.ended else event
        for event in seen
    ]

    assert broken_promises(early)


@contextmanager
def injected(node: RunningNode, trace: Path, what: str, *paths: Path) -> Iterator[None]:
    """A kernel that answers the receivers' calls on these paths (without any: on all) with an error."""
    receivers = [pid for part, pid in node.pids().items() if part.startswith("receiver")]
    only = [word for path in paths for word in ("-P", str(path))]
    with traced(receivers, trace, "-e", f"inject={what}", *only):
        yield


def received_files(node: RunningNode) -> list[Path]:
    spool = node.settings.node.state.absolute() / "spool"
    return [path for folder in ("in", "aside") for path in (spool / folder).rglob("*") if path.is_file()]


def test_a_disk_that_is_full_is_a700_and_leaves_nothing_and_later_all_is_well(
    tmp_path: Path, phantom: list[Path]
) -> None:
    with RunningNode(tmp_path, settings_for(tmp_path, receiver={"processes": 1})) as node:
        with injected(node, tmp_path / "trace", "renameat:error=ENOSPC:when=1..3"):
            (sent,) = dcmsend(node.port, phantom[:6], called=AE_TITLE)
        assert sorted(sent.statuses) == [0x0000] * 3 + [0xA700] * 3
        assert len(received_files(node)) == 3

        (again,) = dcmsend(node.port, phantom[:6], called=AE_TITLE)
        assert again.stored == 6
        assert len(received_files(node)) == 6
        assert b'"ready":true' in node.get("/health/ready")


def where_syncs_go(node: RunningNode, what: str) -> tuple[str, list[Path]]:
    """The call and the paths of the sync of an object's file, of its folder, of its record."""
    state = node.settings.node.state.absolute()
    hours = [time.strftime("%Y%m%d%H", time.gmtime(time.time() + ahead)) for ahead in (0, 3600)]
    desks = list((state / "spool" / "aside").iterdir())
    assert len(desks) == 2
    return {
        "file": ("fdatasync", [desk / f"{desk.name}-00000000.dcm" for desk in desks]),
        "folder": ("fsync", [state / "spool" / "in" / hour for hour in hours]),
        "record": ("fdatasync", [state / "records.sqlite-wal"]),
    }[what]


@pytest.mark.parametrize("what", ["file", "folder", "record"])
def test_a_sync_that_fails_is_no_answer_and_no_process_trusts_the_disk_until_the_node_starts(
    tmp_path: Path, phantom: list[Path], what: str
) -> None:
    """The PostgreSQL rule: after EIO a second sync may say success for pages that are gone."""
    raw = settings_for(tmp_path, receiver={"processes": 2})
    with RunningNode(tmp_path, raw) as node:
        call, paths = where_syncs_go(node, what)
        opened = associate(node.port, phantom, called=AE_TITLE)  # so that its own record is synced before
        with injected(node, tmp_path / "trace", f"{call}:error=EIO", *paths):
            assert store(opened, phantom[0]) == 0xA700
        assert store(opened, phantom[0]) == 0xA700
        opened.release()
        for path in phantom[1:7]:  # some of these associations are served by the other process
            (sent,) = dcmsend(node.port, [path], called=AE_TITLE)
            assert sent.statuses == (0xA700,)
        with pytest.raises(urllib.error.HTTPError) as refused:
            node.get("/health/ready")
        with refused.value as page:
            assert b"its disk failed to write or to sync" in page.read()
        assert "\nimaging_node_spool_failed 1.0\n" in node.metrics()

        node.stop()
        node.start()
        (sent,) = dcmsend(node.port, phantom[:2], called=AE_TITLE)
        assert sent.stored == 2
        assert len(received_files(node)) == 2
