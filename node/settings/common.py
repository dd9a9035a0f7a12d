"""What every table of the settings file is made of: the base class, and values with the rules of DICOM."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, kw_only=True)
class Text:
    """Which texts a setting takes. One pattern serves the node and the JSON schema; the words are for the message."""

    pattern: str
    words: str

    def check(self, text: str) -> str:
        """The text itself. Raises ValueError."""
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.words)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


def _valid_network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


AETitle = Annotated[
    str,
    Text(  # PS3.5 6.2, VR AE
        pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$",
        words="an AE title has 1 to 16 printable ASCII characters, no backslash, no blank at either end",
    ),
]
Name = Annotated[
    str,
    Text(
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        words="a name has 1 to 32 letters, digits, '-' or '_': it labels metrics and names queues",
    ),
]
# Coarser than the check: a pattern that knows every address would be longer than this file.
Network = Annotated[
    str, AfterValidator(_valid_network), Field(json_schema_extra={"pattern": r"^[0-9A-Fa-f.:]+(%[^/%]+)?(/[0-9.]+)?$"})
]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """One table: unknown keys are refused, nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def together(*keys: str) -> dict[str, Any]:
    """For `json_schema_extra`: keys of which a table has all or none."""
    return {"dependentRequired": {key: [other for other in keys if other != key] for key in keys}}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's alone. Names count as reachable: they may change."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
