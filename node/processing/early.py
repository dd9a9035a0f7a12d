"""Objects written before the verdict, aside from all records, so that they can leave as soon as it is given.

What an object says of the checks is guessed from the slices that were measured so far. The verdict is what counts:
what does not say the same is written again, and of a result that is rejected nothing stays.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipelines.judging import Judging
from pipelines.report import Report

CHUNK: Final = 16  # slices written in one request

Write = Callable[[Report, tuple[int, int], Path], dict[str, Any]]


class Early:
    """The objects of one job.

    write:  slices [first, last) of a result's file, with what a report says; returns the writer's reply
    making: the result's file as long as it is in the making
    total:  slices of the series
    """

    def __init__(self, judging: Judging, *, write: Write, making: Path, total: int) -> None:
        self._judging, self._write, self._making, self._total = judging, write, making, total
        self._measured: set[int] = set()
        self._replies: dict[tuple[int, int], tuple[object, dict[str, Any]]] = {}

    def measured(self, index: int) -> None:
        """A slice was measured; writes its chunk if that is the last one of it."""
        self._measured.add(index)
        chunk = self._chunk(index)
        if chunk in self._replies or not self._measured.issuperset(range(*chunk)):
            return
        report = self._judging.so_far()
        if report is not None and not report.held:
            self._replies[chunk] = (said(report), self._write(report, chunk, self._making))

    def complete(self, report: Report, result: Path) -> list[dict[str, Any]]:
        """The replies for all slices, in order; what is missing, or said something else, is written now."""
        replies = []
        for first in range(0, self._total, CHUNK):
            chunk = self._chunk(first)
            words, reply = self._replies.get(chunk, (None, {}))
            replies.append(reply if words == said(report) else self._write(report, chunk, result))
        return replies

    def _chunk(self, index: int) -> tuple[int, int]:
        first = index - index % CHUNK
        return first, min(first + CHUNK, self._total)


def said(report: Report) -> object:
    """What derived objects repeat of a report; see `stages/derive.py`."""
    return len(report.findings), report.caution, sorted({finding.name for finding in report.cautions})
