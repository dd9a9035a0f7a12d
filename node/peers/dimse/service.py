"""What others offer on the node's DICOM port beside storage: their SOP classes and the handlers of their messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Context:
    """One SOP class that a service takes.

    transfer_syntaxes: UIDs, the preferred one first
    scu_role, scp_role: what the peer that opens the association may be, by role selection (PS3.7 D.3.3.4); both None
                        leaves the default: the peer is SCU
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    scu_role: bool | None = None
    scp_role: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """SOP classes and the handlers behind them.

    handlers: (pynetdicom event, function of that event); pynetdicom types both too loosely to follow
    """

    contexts: tuple[Context, ...]
    handlers: tuple[tuple[Any, Callable[[Any], Any]], ...]
