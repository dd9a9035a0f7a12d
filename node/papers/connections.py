"""Reads the facts about connections from settings. One reader for each table that holds an address or a port.

The walk goes over every table of the settings, so that a channel that is added to them is either read or stops the
papers: it cannot be missing from them in silence.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from node.errors import NodeError
from node.papers import called, listening
from node.papers.facts import Called, Caller, Connections, Folder, Listener
from node.settings import (
    DicomDestination,
    DicomwebDestination,
    Engines,
    FolderDestination,
    Hl7Channel,
    OrthancDestination,
    OrthancSource,
    Page,
    Peer,
    Receiver,
    Settings,
    Stow,
    Webhook,
)
from node.settings.receiver import ReceiverTls

Fact = Listener | Caller | Called | Folder
Reader = Callable[[Any, str, Settings], Iterator[Fact]]

READERS: Final[Mapping[type[BaseModel], Reader]] = {
    Receiver: listening.plain,
    ReceiverTls: listening.secure,
    Stow: listening.stow,
    Page: listening.page,
    Peer: called.subscriber,
    DicomDestination: called.archive,
    DicomwebDestination: called.dicomweb,
    OrthancDestination: called.orthanc,
    FolderDestination: called.folder,
    OrthancSource: called.source,
    Hl7Channel: called.hl7,
    Webhook: called.webhook,
    Engines: called.triton,
}
"""Table of the settings -> what it opens, whom it lets in, whom it calls."""

_ENDPOINT: Final = re.compile(
    r"(?:^|_)(?:hosts?|ports?|ur[li]s?|address(?:es)?|endpoints?|servers?|listen|socket|proxy)(?:$|_)"
)


class Unread(NodeError):
    """A table of the settings holds an address that no reader knows: a fault of the program, not of the settings."""


@dataclass(frozen=True, kw_only=True)
class _Table:
    key: str
    part: BaseModel


def endpoints(model: type[BaseModel]) -> list[str]:
    """The keys of a table that hold an address, a port or a URL."""
    return [key for key in model.model_fields if _ENDPOINT.search(key)]


def connections(settings: Settings, readers: Mapping[type[BaseModel], Reader] = READERS) -> Connections:
    """Everything that this configuration opens, and whom it calls. Raises Unread."""
    facts: list[Fact] = []
    for table in _tables(settings, ""):
        reader = readers.get(type(table.part))
        if reader is not None:
            facts.extend(reader(table.part, table.key, settings))
        elif keys := endpoints(type(table.part)):
            raise Unread(
                f"{table.key} holds {', '.join(keys)}, and the papers do not know what for.",
                fix="Add a reader for it to node/papers/connections.py.",
            )
    return Connections(
        listeners=tuple(one for one in facts if isinstance(one, Listener)),
        callers=tuple(one for one in facts if isinstance(one, Caller)),
        called=tuple(one for one in facts if isinstance(one, Called)),
        folders=tuple(one for one in facts if isinstance(one, Folder)),
    )


def _tables(part: BaseModel, key: str) -> Iterator[_Table]:
    """The tables of the settings, outer ones first; one of several is told by its name, or by its place."""
    if key:
        yield _Table(key=key, part=part)
    for name in type(part).model_fields:
        yield from _inside(getattr(part, name), f"{key}.{name}".lstrip("."))


def _inside(value: object, key: str) -> Iterator[_Table]:
    if isinstance(value, BaseModel):
        yield from _tables(value, key)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _inside(one, f"{key}.{name}")
    elif isinstance(value, tuple | list):
        for place, one in enumerate(value, start=1):
            yield from _inside(one, f"{key}.{getattr(one, 'name', place)}")
