"""What a process and its children use, as the kernel tells (proc(5))."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat behind the name, which stands in brackets: utime, stime, cutime, cstime; rss.
_TIMES: Final = slice(11, 15)
_RESIDENT: Final = 21


@dataclass(frozen=True, kw_only=True)
class Usage:
    """`cpu_seconds`: user and system time, with that of children that have ended."""

    cpu_seconds: float
    resident_bytes: int


def usage(pid: int) -> Usage:
    """Of a process and all below it; 0 for one that is gone."""
    fields = [found for one in _tree(pid) if (found := _stat(one)) is not None]
    return Usage(
        cpu_seconds=sum(int(tick) for one in fields for tick in one[_TIMES]) / _TICKS,
        resident_bytes=sum(int(one[_RESIDENT]) for one in fields) * _PAGE_BYTES,
    )


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listing.read_text(encoding="ascii").split()
        except OSError:  # the thread, or all of it, has ended meanwhile
            continue
        for child in children:
            yield from _tree(int(child))


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
