"""Where the objects of an association go, and what becomes of one that is refused on its way."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from node.intake.incoming import Head, Rejected
from node.peers.dimse.pdu import Malformed
from node.peers.dimse.wire import Pace

_SCRATCH: Final = 1 << 16


class Incoming(Protocol):
    """One object on its way in; `node.intake.incoming` has the text."""

    def buffer(self) -> memoryview: ...
    def advance(self, count: int) -> None: ...
    def finish(self) -> "Future[bool]": ...
    def abandon(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where the objects of an association go; functions of `listener.Listening`."""

    begin: Callable[[Head], Incoming]
    answered: Callable[[int, int, float], None]
    association: str
    maximum_pdu_bytes: int
    maximum_bytes: int
    pace: Pace


class Sink:
    """What becomes of one object: it is kept, or refused and read to its end all the same."""

    def __init__(self, incoming: Incoming | None, refusal: Rejected | None, maximum_bytes: int) -> None:
        self._incoming, self._refusal = incoming, refusal
        self._scratch = memoryview(bytearray(_SCRATCH if incoming is None else 0))
        self._maximum = maximum_bytes
        self.size = 0

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        return self._scratch if self._incoming is None else self._incoming.buffer()

    def advance(self, count: int) -> None:
        """So many came. Raises Malformed if a refused object does not end."""
        self.size += count
        if self._incoming is None:
            if self.size > 2 * self._maximum:
                raise Malformed("A refused object did not end.")
            return
        try:
            self._incoming.advance(count)
        except Rejected as error:
            self._incoming, self._refusal = None, error
            self._scratch = memoryview(bytearray(_SCRATCH))

    def finish(self) -> None:
        """Until it is durable. Raises Rejected."""
        if self._incoming is None:
            assert self._refusal is not None
            raise self._refusal
        self._incoming.finish().result()

    def abandon(self) -> None:
        """It broke off: nothing of it stays."""
        if self._incoming is not None:
            self._incoming.abandon()
