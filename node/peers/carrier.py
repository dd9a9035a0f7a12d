"""What `stages/deliver.py` asks of a way to a destination. One carrier for each kind; `app.py` builds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from node.errors import Retry


class Unreachable(Retry):
    """Nobody answered there, or not as the peer that the settings describe. No object was sent."""


class Broken(Retry):
    """It ended before everything was answered."""


class Busy(Retry):
    """The destination asks to be left alone for `after_s` seconds."""

    def __init__(self, message: str, *, after_s: float, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.after_s = after_s


class Fate(StrEnum):
    """What a destination did with one object."""

    TAKEN = "taken"  # stored, there already, or stored with a warning
    LATER = "later"  # not now: out of resources, busy
    NEVER = "never"  # this object will not be taken as it is


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A destination's answer to one object. `status`: at most 6 characters, as in "0xa700" or "409"."""

    fate: Fate
    status: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One object to carry: a Part 10 file in Explicit VR Little Endian."""

    sop_class_uid: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Consignment:
    """What the objects of one delivery have in common.

    series_uid: of the derived series
    beside:     Series Instance UIDs of what goes there in deliveries of their own: of the map
    """

    job_id: str
    pipeline: str
    pipeline_version: str
    study_uid: str
    series_uid: str
    beside: tuple[str, ...] = ()


class Carrier(Protocol):
    """The way to one destination. Used by several threads at a time; keeps nothing between calls that must survive."""

    def probe(self) -> None:
        """Ask whether somebody is there. Raises Unreachable, naming why."""

    def held(self, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str] | None:
        """Which of these SOP Instance UIDs the destination has; None if it cannot be asked, or does not answer that.

        raises: Unreachable, Broken
        """

    def carry(
        self,
        consignment: Consignment,
        items: Sequence[Item],
        *,
        before: Callable[[int], None],
        answered: Callable[[int, Answer], bool],
    ) -> None:
        """Send the items in order.

        before:   to be called with the index of an item just before it may leave; it is recorded as sent then
        answered: to be called with index and answer of each item that left; False: send no more
        raises:   Unreachable before the first item, Broken after it, Busy at any time; Refuse if it will never pass
        """
