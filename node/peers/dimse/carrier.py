"""An archive as a destination: C-STORE, and C-FIND for what is unsure."""

from collections.abc import Callable, Sequence
from typing import Final

from node.peers.carrier import Answer, Consignment, Fate, Item
from node.peers.dimse import query as dimse_query
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address

# Success, there already, stored with a warning.
_TAKEN: Final = frozenset({0x0000, 0x0111, 0xB000, 0xB006, 0xB007})
# Statuses after which the same object may pass later: processing failure, busy, out of resources (A7xx).
_TRANSIENT: Final = frozenset({0x0110, 0x0210, 0x0213, *range(0xA700, 0xA800)})


def fate_of(status: int) -> Fate:
    """What a C-STORE status means for the object (PS3.4 B.2.3, PS3.7 9.1.1.1.9)."""
    if status in _TAKEN:
        return Fate.TAKEN
    return Fate.LATER if status in _TRANSIENT else Fate.NEVER


class DicomCarrier:
    """One association for each delivery."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def probe(self) -> None:
        dimse_query.echo(self._address)

    def held(self, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str] | None:
        found = dimse_query.instances_there(
            self._address, study_uid=consignment.study_uid, series_uid=consignment.series_uid
        )
        return None if found is None else frozenset(found) & wanted

    def carry(
        self,
        consignment: Consignment,
        items: Sequence[Item],
        *,
        before: Callable[[int], None],
        answered: Callable[[int, Answer], bool],
    ) -> None:
        dimse_send.send(
            self._address,
            [(item.sop_class_uid, item.path) for item in items],
            before=before,
            answered=lambda index, status: answered(index, Answer(fate=fate_of(status), status=f"{status:#06x}")),
        )
