"""Confirmations on their way into the records, in groups: one commit for what came since the last one."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

_PAUSE_S: Final = 0.03  # what a kill can lose: those objects are unsure then, and are looked for before they go again


class Ledger:
    """Takes confirmations in a `with` block and keeps them from a thread of its own, every 30 ms at most.

    keep: makes (SOP Instance UID, status) durable. What it raises comes out of `confirm`, or of the end of the block,
          which waits until everything is kept, also when the block ended with an error.
    """

    def __init__(self, keep: Callable[[list[tuple[str, str]]], None]) -> None:
        self._keep = keep
        self._changed = threading.Condition()
        self._pending: list[tuple[str, str]] = []
        self._ending = False
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> "Ledger":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()
        if self._fault is not None and error is None:
            raise self._fault

    def confirm(self, sop_instance_uid: str, status: str) -> None:
        """The destination took this one."""
        with self._changed:
            if self._fault is not None:
                raise self._fault
            self._pending.append((sop_instance_uid, status))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._ending)
                group, self._pending = self._pending, []
                if not group:
                    return
            try:
                self._keep(group)
            except Exception as error:  # noqa: BLE001  it is raised again in the thread that sends
                self._fault = error
                return
            with self._changed:
                self._changed.wait_for(lambda: self._ending, timeout=_PAUSE_S)
