"""The worklist that the node's DICOM port serves: who may do what in it, and how long things stay."""

from collections.abc import Collection, Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from node.settings.common import AETitle, Part

_LabelText = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[ -\[\]-~]+$")]  # LO, ASCII, no backslash
EVERYBODY: Final = "*"


class Ups(Part):
    """The table `worklist.ups`. An AE title is one of `peers`, or "*" for all of them."""

    enabled: bool = True  # false: no worklist is kept or served
    claim: tuple[AETitle, ...] = ()  # may take a study, report on it and end it
    watch: tuple[AETitle, ...] = ()  # may look and subscribe, nothing else
    create: tuple[AETitle, ...] = ()  # may put workitems of their own into it, and ask for cancellation
    label: _LabelText = "AI-TRIAGE"  # Worklist Label (0074,1202)
    retrieve_ae_title: AETitle | None = None  # where readers get the images; default: who sent them
    keep_days: Annotated[float, Field(gt=0)] = 7.0  # what was read or cancelled
    unclaimed_days: Annotated[float, Field(gt=0)] | Literal["never"] = 7.0  # then what nobody claimed is cancelled
    deletion_locks: bool = True  # subscribers may ask that what ended is kept until they have seen it
    lock_days: Annotated[float, Field(gt=0)] = 30.0  # the longest that such a lock holds
    status_to: tuple[AETitle, ...] = ()  # told when the node starts again, also without a subscription

    def may_claim(self, ae_title: str) -> bool:
        """Whether an AE may change the state of workitems."""
        return _named(ae_title, self.claim)

    def may_create(self, ae_title: str) -> bool:
        """Whether an AE may make workitems."""
        return _named(ae_title, self.create)

    def may_look(self, ae_title: str) -> bool:
        """Whether an AE may query, and subscribe."""
        return any(_named(ae_title, some) for some in (self.claim, self.watch, self.create))

    def faults(self, known: Collection[str], called: Collection[str]) -> Iterator[str]:
        """What does not fit together.

        known:  AE titles of the peers
        called: those of them that the node can call
        """
        for name in ("claim", "watch", "create"):
            for title in getattr(self, name):
                if title != EVERYBODY and title not in known:
                    yield f"worklist.ups.{name} names {title!r}, which is the ae_title of no peer"
        for title in self.status_to:
            if title not in called:
                yield f"worklist.ups.status_to names {title!r}, which is no peer with host and port"
        if self.lock_days < self.keep_days:
            yield "worklist.ups.lock_days is shorter than keep_days"


def _named(ae_title: str, titles: Collection[str]) -> bool:
    return EVERYBODY in titles or ae_title in titles
