"""What those who bring instances by HTTP tell the node, as `dimse_server` does for associations."""

from collections.abc import Callable
from dataclasses import dataclass

from node.intake.incoming import Head, Incoming


@dataclass(frozen=True, kw_only=True)
class Taking:
    """Every function may be called from any thread.

    begin:    as `Intake.begin`
    opened:   a request or a series begins: a key of ours, and who sends (in the place of a calling AE title)
    closed:   it ended: key, and whether whole; assembling takes that as it takes the release of an association
    answered: one instance was answered: status, bytes of its data set
    refused:  a request was turned away, for a reason of a closed set
    """

    begin: Callable[[Head], Incoming]
    opened: Callable[[str, str], None]
    closed: Callable[[str, bool], None]
    answered: Callable[[int, int], None]
    refused: Callable[[str], None]
