"""The slices of sets: which stacks a set holds, and which slices and headers belong to the part that a job takes.

Computed anew wherever they are needed: a set never changes, so its parts do not either. Records hold only the label.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.child import Child
from node.dicom import codes, stacks
from node.dicom.scan import Header
from node.errors import Refuse
from node.records import jobs, sets
from node.records.database import Records
from node.records.instances import Instance
from node.spool import Spool

_KEPT: Final = 8  # sets; an Enhanced one has a header for each frame


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One slice of a part.

    path:  of the received file
    uid:   SOP Instance UID of its object
    frame: 0 for a single-frame object, else 1..N (PS3.3 10.3)
    """

    path: Path
    uid: str
    frame: int
    header: Header

    @property
    def name(self) -> str:
        """What tells the slice from all others, for digests."""
        return f"{self.uid}/{self.frame}" if self.frame else self.uid


@dataclass(frozen=True, kw_only=True)
class SetPart:
    """One stack of a set. `label`: "all" if the set is one stack."""

    label: str
    slices: tuple[Taken, ...]

    @property
    def headers(self) -> list[Header]:
        return [one.header for one in self.slices]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Divides sets into their stacks; the child reads the frames of Enhanced objects."""

    records: Records
    spool: Spool
    child: Child
    _last: OrderedDict[str, tuple[SetPart, ...]] = field(default_factory=OrderedDict, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def of(self, set_id: str, members: Sequence[Instance] | None = None) -> tuple[SetPart, ...]:
        """The stacks of a set; at least one.

        members: of the set, where the caller has them
        raises:  Refuse if a file's functional groups cannot be read
        """
        with self._turn:
            if set_id in self._last:
                self._last.move_to_end(set_id)
                return self._last[set_id]
        if members is None:
            with self.records.read() as connection:
                members = sets.members(connection, set_id)
        found = tuple(self._part(part, members) for part in stacks.split(self._headers(members)))
        with self._turn:
            self._last[set_id] = found
            while len(self._last) > _KEPT:
                self._last.popitem(last=False)
        return found

    def one(self, set_id: str, label: str) -> SetPart:
        """The part of that label. Raises Refuse if this version of the node divides the set in another way."""
        for part in self.of(set_id):
            if part.label == label:
                return part
        raise Refuse(f"The set has no part {label!a} any more.", fix="Replay the series.")

    def unread(self, members: Sequence[Instance]) -> SetPart:
        """The set as its objects stand, where their frames cannot be read: each object once, with its own header."""
        taken = [
            Taken(path=self.spool.path(one.file), uid=one.sop_instance_uid, frame=0, header=one.header)
            for one in members
        ]
        return SetPart(label=jobs.WHOLE, slices=tuple(taken))

    def _headers(self, members: Sequence[Instance]) -> list[list[Header]]:
        """For every member the headers of its slices."""
        found: list[list[Header]] = [[member.header] for member in members]
        of_frames = [at for at, member in enumerate(members) if member.sop_class_uid in codes.MULTI_FRAME]
        if of_frames:
            request = {"paths": [str(self.spool.path(members[at].file)) for at in of_frames]}
            reply = self.child.call("node.dicom.frames:frame_headers", request)
            for at, frames in zip(of_frames, reply["headers"], strict=True):
                # What the receiver adds stands in no file: the sender's title, for one.
                own = members[at].header
                found[at] = [own | {keyword: tuple(texts) for keyword, texts in frame.items()} for frame in frames]
        return found

    def _part(self, part: stacks.Part, members: Sequence[Instance]) -> SetPart:
        slices = tuple(
            Taken(
                path=self.spool.path(members[one.instance].file),
                uid=members[one.instance].sop_instance_uid,
                frame=one.frame,
                header=one.header,
            )
            for one in part.slices
        )
        return SetPart(label=part.label, slices=slices)
