"""Who has the engine: one complete series at a time, urgent ones past all others, work ahead while none is there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from node import lane
from node.processing.precedence import Precedence

_PATIENCE_S: Final = 0.2


class Turns:
    """Two complete series would share the same cores and both be late; one that is not complete yet may wait.

    An urgent series waits for urgent ones only: the other that has the engine rests after the slice that it is at.
    """

    def __init__(self, precedence: Precedence | None = None) -> None:
        self._precedence = precedence or Precedence()
        self._changed = threading.Condition()
        self._taken = {True: False, False: False}  # by whether it is urgent
        self._waiting = 0

    @contextmanager
    def next(self) -> Iterator[None]:
        """For a complete series: waits until the one before it, or one slice of other work, is done."""
        urgent = lane.is_urgent()
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken[urgent])
                self._taken[urgent] = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            self._give_back(urgent=urgent)

    @contextmanager
    def spare(self) -> Iterator[bool]:
        """For one slice ahead of time: whether it may be made now. Waits a moment for an answer, not longer."""
        with self._changed:
            mine = self._changed.wait_for(self._nobody, _PATIENCE_S)
            self._taken[False] |= mine
        try:
            yield mine
        finally:
            if mine:
                self._give_back(urgent=False)

    def _nobody(self) -> bool:
        return not any(self._taken.values()) and not self._waiting and not self._precedence.holds

    def _give_back(self, *, urgent: bool) -> None:
        with self._changed:
            self._taken[urgent] = False
            self._changed.notify_all()
