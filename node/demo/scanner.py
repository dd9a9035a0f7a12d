"""A scanner that was computed: sends a series by C-STORE and says what was answered."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydicom import dcmread

from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.errors import NodeError
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address

AE_TITLE: Final = "PHANTOM-CT"


class NotTaken(NodeError):
    """The receiver answered other than with Success."""


def address(host: str, port: int, *, called: str, calling: str = AE_TITLE) -> Address:
    """Who is called, without TLS."""
    return Address(
        host=host,
        port=port,
        called_ae=called,
        calling_ae=calling,
        connect_s=10.0,
        response_s=30.0,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
    )


def send(to: Address, files: Sequence[Path]) -> None:
    """One association for all files, which are of one SOP Class. Raises NotTaken, Unreachable."""
    refused: Counter[int] = Counter()

    def answered(_: int, status: int) -> bool:
        if status != 0x0000:
            refused[status] += 1
        return True

    sop_class = str(dcmread(files[0], stop_before_pixels=True).SOPClassUID)
    dimse_send.send(to, [(sop_class, path) for path in files], before=lambda _: None, answered=answered)
    if refused:
        said = ", ".join(f"{status:#06x} to {count}" for status, count in refused.items())
        raise NotTaken(f"{to.called_ae} answered {said} of {len(files)} slices.", fix="Its log says why.")
