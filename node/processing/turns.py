"""Who has the engine: one complete series at a time, and work ahead of time only while none is there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PATIENCE_S: Final = 0.2


class Turns:
    """Two complete series would share the same cores and both be late; one that is not complete yet may wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting = 0

    @contextmanager
    def next(self) -> Iterator[None]:
        """For a complete series: waits until the one before it, or one slice of other work, is done."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken)
                self._taken = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def spare(self) -> Iterator[bool]:
        """For one slice ahead of time: whether it may be made now. Waits a moment for an answer, not longer."""
        with self._changed:
            mine = self._changed.wait_for(lambda: not self._taken and not self._waiting, _PATIENCE_S)
            self._taken |= mine
        try:
            yield mine
        finally:
            if mine:
                self._give_back()

    def _give_back(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()
