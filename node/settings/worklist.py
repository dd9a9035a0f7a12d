"""What a triage result becomes beside its report: the order of the list, flags, further objects."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from node.settings.common import Part
from node.settings.flags import Channel, Hl7Channel, Label, Webhook
from node.settings.scanners import Scanner
from node.settings.scanners import faults as scanner_faults
from node.settings.ups import Ups

FORMS: Final = {"map": "map", "segmentation": "segment", "pseudo_healthy": "classic"}
"""Object that a site may ask for -> its form among the results of a job."""


class Worklist(Part):
    """The table `worklist`."""

    credit_minutes: Annotated[float, Field(ge=0, le=1440)] = 120.0  # a flag moves a study ahead by this much at most
    # Shown to readers they can exceed what a triage is meant for (DICOM_SPEC 3.1): each is a decision of the site.
    objects: tuple[Literal["map", "segmentation", "pseudo_healthy"], ...] = ()
    scanners: tuple[Scanner, ...] = ()
    ups: Ups = Ups()
    hl7: tuple[Hl7Channel, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    labels: tuple[Label, ...] = ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Everybody who is told of verdicts."""
        return (*self.hl7, *self.webhooks, *self.labels)

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that the objects have among the results of a job."""
        return tuple(FORMS[name] for name in self.objects)

    def faults(self) -> Iterator[str]:
        """What does not fit together."""
        if len(set(self.objects)) != len(self.objects):
            yield "worklist.objects names one twice"
        yield from scanner_faults(self.scanners)
