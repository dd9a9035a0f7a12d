"""Who is told of the verdicts of triage, and how: HL7 to the RIS, webhooks, labels at an Orthanc."""

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from node.settings.common import Name, Part, Seconds, Text, is_loopback
from node.settings.web import Label as LabelText
from node.settings.web import MetadataName, WebSite, WebTls
from pipelines.triage import Flag

MOST: Final = 32  # channels: each has a thread of its own and is a label of metrics


Namespace = Annotated[
    str,
    Text(  # HL7 v2.5.1 2.A.36, HD: of the namespace only, without delimiters
        pattern=r"^[ -%'-\[\]_-{}]{0,20}$",
        words="an HL7 application or facility has at most 20 printable ASCII characters, none of | ^ ~ \\ &",
    ),
]


class CharacterSet(StrEnum):
    """How a message is encoded: MSH-18, HL7 table 0211."""

    ASCII = "ASCII"
    LATIN_1 = "8859/1"
    LATIN_2 = "8859/2"
    LATIN_3 = "8859/3"
    LATIN_4 = "8859/4"
    CYRILLIC = "8859/5"
    ARABIC = "8859/6"
    GREEK = "8859/7"
    HEBREW = "8859/8"
    LATIN_5 = "8859/9"
    LATIN_9 = "8859/15"
    JAPANESE = "ISO IR87"
    UTF_8 = "UNICODE UTF-8"


class Channel(Part):
    """What all ways to tell somebody have in common."""

    name: Name
    negatives: bool = False  # also tell of FLAG_NOT_RAISED
    alarm_s: Seconds = 60.0  # not acknowledged so long after the verdict: an alarm (DICOM_SPEC 3.3)
    retry_longest_s: Annotated[float, Field(ge=0.1)] = 30.0  # back-off: 1 s doubling to this, ±20 %
    retry_hours: Seconds = 168.0  # then it is given up, with an alarm
    refusals: Annotated[int, Field(ge=1, le=1000)] = 6  # so many answers that say no, and it is given up

    def wants(self, flag: Flag) -> bool:
        """Whether it is told of such a verdict."""
        return flag is not Flag.NOT_RAISED or self.negatives


class Hl7Channel(Channel):
    """A receiver of HL7 v2.5.1 ORU^R01 by MLLP."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: WebTls | None = None  # not set: without TLS
    sending_application: Namespace = "GENAI"  # MSH-3
    sending_facility: Namespace = ""  # MSH-4
    receiving_application: Namespace = ""  # MSH-5
    receiving_facility: Namespace = ""  # MSH-6
    processing_id: Literal["P", "T", "D"] = "P"  # MSH-11: production, training, debugging
    character_set: CharacterSet = CharacterSet.UTF_8
    patient_authority: Namespace = ""  # PID-3.4 where the images name no Issuer of Patient ID (0010,0021)
    connect_timeout_s: Seconds = 10.0
    response_timeout_s: Seconds = 30.0  # for the whole acknowledgement


class Webhook(WebSite, Channel):
    """Somebody who takes JSON by POST."""

    secret_file: Path | None = None  # one line; bodies are signed with it (HMAC-SHA256)
    identity: bool = False  # send Patient ID, name and Accession Number, too
    plain: bool = False  # http to another machine, in a closed network
    response_timeout_s: Seconds = 30.0

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or "") and not self.plain:
            raise ValueError("a webhook needs an https URL; in a closed network set plain = true")
        return self


class Label(Channel):
    """Labels on the study at an Orthanc; they go with a withdrawal."""

    destination: Name  # of kind "orthanc"
    flagged: LabelText = "ai-flag-raised"
    not_analysable: LabelText = "ai-not-analysable"
    not_flagged: LabelText = "ai-flag-not-raised"  # with `negatives`
    metadata: MetadataName = "4097"  # where the label goes in an Orthanc older than 1.12.0, which has no labels

    def text(self, flag: Flag) -> str:
        """The label of a verdict."""
        return {
            Flag.RAISED: self.flagged,
            Flag.NOT_ANALYSABLE: self.not_analysable,
            Flag.NOT_RAISED: self.not_flagged,
        }[flag]

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if len({self.text(flag) for flag in Flag}) < len(Flag):
            raise ValueError("each verdict needs a label of its own")
        return self


def faults(channels: Sequence[Channel], orthancs: Collection[str]) -> Iterator[str]:
    """What is wrong with all of them together; nothing, if they can be used.

    orthancs: names of the destinations of kind "orthanc"
    """
    names = [one.name for one in channels]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"worklist: the channel {name!r} is there twice; give each its own name"
    if len(channels) > MOST:
        yield f"worklist: {len(channels)} channels, at most {MOST}"
    for one in channels:
        if isinstance(one, Label) and one.destination not in orthancs:
            yield f"label {one.name!r} names destination {one.destination!r}, which is none of kind orthanc"
