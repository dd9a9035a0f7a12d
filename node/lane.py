"""On whose behalf a thread works: what a person may be waiting for with a bleeding head, or everything else.

A flow sets it where a stage begins; what the stage calls looks here instead of handing it down through every signature.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


@contextmanager
def urgently() -> Iterator[None]:
    """What this thread does inside is urgent; threads that it starts have to say so themselves."""
    before = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(before)


def is_urgent() -> bool:
    """Whether what this thread does now is urgent."""
    return _urgent.get()
