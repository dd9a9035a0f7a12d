"""A folder as a destination: whole files, one folder for each derived series."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from node.dicom.part10 import split
from node.errors import Refuse, Retry
from node.peers.carrier import Answer, Consignment, Fate, Item, Unreachable
from node.spool import sync_folder, written_aside

_COPIED: Final = Answer(fate=Fate.TAKEN, status="copied")


class FolderCarrier:
    """Copies into `folder`. A second copy of the same object replaces the first with the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def probe(self) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise Unreachable(f"{self._folder} is no folder.", fix="Name another one.")

    def held(self, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str] | None:
        """What lies there. Where none of it does, somebody may have taken it away: then the folder cannot tell."""
        found, folder = set(), self._folder / consignment.series_uid
        try:
            for path in folder.glob("*.dcm"):
                found.add(split(path)[0].sop_instance_uid)
            if found:
                sync_folder(folder)  # what wrote them may not have come to that
        except (OSError, Refuse, ValueError) as error:
            raise Retry(f"A file in the folder cannot be read: {error}.", fix="Look at it, and remove it.") from error
        return frozenset(found) & wanted or None

    def carry(
        self,
        consignment: Consignment,
        items: Sequence[Item],
        *,
        before: Callable[[int], None],
        answered: Callable[[int, Answer], bool],
    ) -> None:
        folder = self._folder / consignment.series_uid  # a UID of ours, made of digits and dots
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for index, item in enumerate(items):
                before(index)
                with item.path.open("rb") as made, written_aside(folder / item.path.name) as copy:
                    shutil.copyfileobj(made, copy)
            sync_folder(folder)
        except OSError as error:
            raise Retry(
                f"The folder cannot be written: {error.strerror}.", fix="Check its rights and space."
            ) from error
        for index in range(len(items)):  # nothing counts before the folder is synced
            answered(index, _COPIED)
