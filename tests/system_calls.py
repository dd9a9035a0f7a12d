"""What a process asked of the kernel, seen by strace: the order of writes, syncs and answers."""

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.peers import which_or_skip

CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg"


class Step(StrEnum):
    """What stands on the disk, step by step, before an answer (RELIABILITY §5 d)."""

    WRITE = "write"
    FILE = "file synced"
    RENAME = "renamed"
    FOLDER = "folder synced"
    RECORD = "record synced"
    ANSWER = "answer"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One call. `began`, `ended`: places in the trace; `subject`: file aside, or folder."""

    step: Step
    thread: int
    began: int
    ended: int
    subject: str = ""


@contextmanager
def traced(pids: Sequence[int], trace: Path, *options: str) -> Iterator[None]:
    """strace on running processes and all their threads, for as long as the block."""
    watched = [word for pid in pids for word in ("-p", str(pid))]
    command = [which_or_skip("strace"), "-f", "-y", *options, "-o", str(trace), *watched]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as watcher:
        attached = threading.Event()
        drain = threading.Thread(target=_drain, args=(watcher, attached, len(pids)), daemon=True)
        drain.start()
        try:
            assert attached.wait(20), "strace may not attach here"
            yield
        finally:
            watcher.terminate()
            watcher.wait(10)
            drain.join(10)  # it reads to the end before the block closes what it reads


def _drain(watcher: subprocess.Popen[bytes], attached: threading.Event, processes: int) -> None:
    assert watcher.stderr is not None
    seen = 0
    for line in watcher.stderr:
        seen += b"attached" in line
        if seen >= processes:
            attached.set()


_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_STEPS = (
    (Step.WRITE, re.compile(r"p?write(?:64)?\(\d+<[^>]*/spool/aside/[^/]+/([^>]+)>")),
    (Step.FILE, re.compile(r"f(?:data)?sync\(\d+<[^>]*/spool/aside/[^/]+/([^>]+)>")),
    (Step.RENAME, re.compile(r"rename\w*\(.*spool/aside/[^/]+/([^\"]+)\".*spool/in/")),
    (Step.FOLDER, re.compile(r"f(?:data)?sync\(\d+<[^>]*/spool/in/(\d+)>")),
    (Step.RECORD, re.compile(r"f(?:data)?sync\(\d+<[^>]*records\.sqlite-wal()>")),
    # A P-DATA-TF PDU (type 4): a receiver sends no other messages than responses (PS3.8 9.3.5).
    (Step.ANSWER, re.compile(r"(?:sendto|sendmsg|write)\(\d+<(?:socket|TCP)[^\"]*\"\\4\\0()")),
)


def events(trace: str) -> list[Event]:
    """The calls that succeeded, in the order in which they ended. A call that others interrupted has two lines."""
    found: list[Event] = []
    begun: dict[int, tuple[int, str]] = {}
    for place, line in enumerate(trace.splitlines()):
        if (matched := _LINE.match(line)) is None:
            continue
        thread, text = int(matched[1]), matched[2]
        if text.endswith("<unfinished ...>"):
            begun[thread] = (place, text)
            continue
        began = place
        if (resumed := _RESUMED.match(text)) is not None:
            began, opening = begun.pop(thread, (place, ""))
            text = opening.removesuffix("<unfinished ...>") + resumed[2]
        if re.search(r"= -1 E", text):
            continue
        for step, shape in _STEPS:
            if (hit := shape.match(text)) is not None:
                found.append(Event(step=step, thread=thread, began=began, ended=place, subject=hit[1]))
    return found


def broken_promises(found: Sequence[Event]) -> list[str]:
    """Answers that went out before everything that they promise was on the disk; empty if all is well.

    For each answer: the thread that sends it had written, synced and renamed a file of its own; behind the rename some
    thread of that process synced the folder, and behind that the record.
    """
    tokens = {e.thread: e.subject.partition("-")[0] for e in found if e.step is Step.RENAME}
    faults, used = [], set()
    for number, answer in enumerate((e for e in found if e.step is Step.ANSWER), start=1):
        renames = [
            e
            for e in found
            if e.step is Step.RENAME and e.thread == answer.thread and e.ended < answer.began and e.subject not in used
        ]
        if not renames:
            faults.append(f"answer {number}: no file was renamed for it")
            continue
        rename = renames[-1]
        used.add(rename.subject)
        synced = [e for e in found if e.step is Step.FILE and e.subject == rename.subject and e.ended < rename.began]
        written = [e for e in found if e.step is Step.WRITE and e.subject == rename.subject]
        if not synced or not written or max(e.ended for e in written) > max(e.began for e in synced):
            faults.append(f"answer {number}: its file was not synced whole before the rename")
        ours = [e for e in found if tokens.get(e.thread) == tokens[answer.thread] and e.ended < answer.began]
        folders = [e for e in ours if e.step is Step.FOLDER and e.began > rename.ended]
        if not folders:
            faults.append(f"answer {number}: the folder was not synced after the rename")
        elif not any(
            e.step is Step.RECORD and e.thread == folder.thread and e.began > folder.ended
            for e in ours
            for folder in folders
        ):
            faults.append(f"answer {number}: the record was not synced after the folder")
    return faults
