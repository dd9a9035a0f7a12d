"""Which scanner a series came from, as a label from a closed set."""

from collections.abc import Sequence

from node.settings.scanners import OTHER, Scanner
from pipelines.match import Header, misfits


def scanner_of(scanners: Sequence[Scanner], headers: Sequence[Header]) -> str:
    """The name of the first scanner whose conditions every slice fits; "other" if none is, or there is no slice."""
    if headers:
        for one in scanners:
            if not misfits(one.where, headers):
                return one.name
    return OTHER


def labels(scanners: Sequence[Scanner]) -> tuple[str, ...]:
    """Every label that `scanner_of` may give."""
    return (*(one.name for one in scanners), OTHER)
