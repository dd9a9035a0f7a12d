"""Urgent work goes first: while there is any, all other work rests between two slices, and not for ever."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from node import lane

LONGEST_S: Final = 60.0  # that other work is held at a stretch
RESPITE_S: Final = 15.0  # that it then has, beside the urgent work
EXPECTED_S: Final = 10.0  # a set that was frozen so long ago and that nobody took up holds nobody any more
_LOOK_S: Final = 0.25


class Precedence:
    """Who gives way to whom in one process. Safe for threads.

    Held time is a debt that is paid back in free time at `respite_s` for `longest_s`: however urgent cases follow each
    other, other work has that share of the time. In its respite it runs beside the urgent work, which never waits.

    clock: seconds, of any origin
    """

    def __init__(
        self,
        *,
        longest_s: float = LONGEST_S,
        respite_s: float = RESPITE_S,
        expected_s: float = EXPECTED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_s, self._respite_s, self._expected_s = longest_s, respite_s, expected_s
        self._clock = clock
        self._changed = threading.Condition()
        self._working: Counter[str] = Counter()
        self._expected: dict[str, float] = {}
        self._aside = 0
        self._debt_s, self._in_respite, self._was_held, self._seen_at = 0.0, False, False, clock()
        self._closed = False

    def expect(self, key: str) -> None:
        """Urgent work is on its way: a set was frozen. Other work rests from now on."""
        with self._changed:
            self._look()
            self._expected[key] = self._clock() + self._expected_s
            self._look()

    @contextmanager
    def working(self, key: str) -> Iterator[None]:
        """Urgent work, from here to the end of the block; what was expected under this key has come."""
        with self._changed:
            self._look()
            self._expected.pop(key, None)
            self._working[key] += 1
            self._look()
        try:
            with lane.urgently():
                yield
        finally:
            with self._changed:
                self._look()
                self._working[key] -= 1
                self._look()
                self._changed.notify_all()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Wait for something outside of this machine; urgent work that does holds nobody meanwhile."""
        urgent = lane.is_urgent()
        with self._changed:
            self._look()
            self._aside += urgent
            self._look()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._look()
                self._aside -= urgent
                self._look()

    @property
    def holds(self) -> bool:
        """Whether other work has to rest now."""
        with self._changed:
            return self._look()

    def give_way(self) -> bool:
        """Wait until other work may go on; urgent work does not wait at all. False if the process ends meanwhile."""
        if lane.is_urgent():
            return True
        with self._changed:
            while not self._closed and self._look():
                self._changed.wait(_LOOK_S)
            return not self._closed

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _look(self) -> bool:
        """Count the time since the last look to what was true then; returns what is true now."""
        now = self._clock()
        passed = max(0.0, now - self._seen_at)
        self._seen_at = now
        if self._was_held:
            self._debt_s = min(self._longest_s, self._debt_s + passed)
        else:
            self._debt_s = max(0.0, self._debt_s - passed * self._longest_s / self._respite_s)
        if self._debt_s >= self._longest_s:
            self._in_respite = True
        elif self._debt_s == 0.0:
            self._in_respite = False
        for key in [key for key, until in self._expected.items() if until <= now]:
            del self._expected[key]
        wanted = self._working.total() > self._aside or bool(self._expected)
        self._was_held = wanted and not self._in_respite
        return self._was_held
