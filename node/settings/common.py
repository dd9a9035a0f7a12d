"""What every table of the settings file is made of: the base class, and values with the rules of DICOM."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _valid_ae_title(text: str) -> str:
    """PS3.5 6.2, VR AE: 1 to 16 characters of the default repertoire, no backslash, not only blanks."""
    if not 1 <= len(text) <= 16 or text != text.strip() or "\\" in text or not text.isascii() or not text.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters, no backslash, no blank at either end")
    return text


def _valid_name(text: str) -> str:
    if not text or len(text) > 32 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in text):
        raise ValueError("a name has 1 to 32 letters, digits, '-' or '_': it labels metrics and names queues")
    return text


def _valid_network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


AETitle = Annotated[str, AfterValidator(_valid_ae_title)]
Name = Annotated[str, AfterValidator(_valid_name)]
Network = Annotated[str, AfterValidator(_valid_network)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """One table: unknown keys are refused, nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's alone. Names count as reachable: they may change."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
