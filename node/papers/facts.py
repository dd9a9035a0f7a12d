"""What a configuration opens and whom it calls: the facts that the port sheet, the picture and the answers share."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from node.settings.common import is_loopback


class Data(StrEnum):
    """What of a patient goes over a connection."""

    IMAGES = "yes: images or headers with identity"
    IDENTITY = "yes: name, Patient ID, Accession Number"
    PIXELS = "pixels, without headers"
    UIDS = "UIDs of study and series, no name"
    NONE = "none"

    @property
    def personal(self) -> bool:
        """Whether a rule for personal data covers it. UIDs and pixels lead back to a person."""
        return self is not Data.NONE


class Flow(StrEnum):
    """Where the data go; who opens the connection is another matter."""

    IN = "to the node"
    OUT = "from the node"
    BOTH = "both ways"


@dataclass(frozen=True, kw_only=True)
class Security:
    """How a connection is protected and who proves what to whom.

    tls:    the oldest version that is spoken, "1.2" or "1.3"; None: nothing is encrypted
    caller: how the one who opens the connection is known
    called: how the one who is called is known
    """

    tls: str | None
    caller: str
    called: str

    @property
    def text(self) -> str:
        """As the sheet and the picture say it."""
        if self.tls is None:
            return "not encrypted"
        return "TLS 1.3" if self.tls == "1.3" else "TLS 1.2, 1.3"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A TCP port that the node opens.

    setting: table of the settings file that it comes from
    process: part of the node that listens
    host:    address that is listened on
    port:    0: any free one is taken
    """

    setting: str
    process: str
    host: str
    port: int
    protocol: str
    security: Security

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who may connect to a listener.

    name:      what the settings call them
    setting:   table of the settings file that lets them in
    addresses: addresses or networks that they come from; empty: the node does not look at the address
    """

    name: str
    setting: str
    listener: Listener
    addresses: tuple[str, ...]
    proof: str
    carries: str
    flow: Flow
    data: Data


@dataclass(frozen=True, kw_only=True)
class Called:
    """Somebody whom the node calls.

    process: parts of the node, or commands, that open the connection
    """

    name: str
    setting: str
    process: str
    host: str
    port: int
    protocol: str
    security: Security
    carries: str
    flow: Flow
    data: Data

    @property
    def local(self) -> bool:
        """Whether it stays on this machine."""
        return is_loopback(self.host)

    @property
    def is_name(self) -> bool:
        """Whether a resolver has to be asked for the address."""
        return is_name(self.host)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that results go to as files; a network share if the machine has mounted one there."""

    name: str
    setting: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Connections:
    """All of one configuration, in the order of its settings file."""

    listeners: tuple[Listener, ...]
    callers: tuple[Caller, ...]
    called: tuple[Called, ...]
    folders: tuple[Folder, ...]

    @property
    def asks_names(self) -> bool:
        """Whether the system's resolver (DNS) is asked."""
        return any(one.is_name for one in self.called)

    def callers_of(self, listener: Listener) -> tuple[Caller, ...]:
        """Who may connect there."""
        return tuple(one for one in self.callers if one.listener == listener)


def is_name(host: str) -> bool:
    """Whether this is a host name, and no address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    return False


def printable(words: str) -> str:
    """Without line breaks and control characters: what stands in settings must not break a table or a rule."""
    return "".join(c if c.isprintable() else " " for c in words)
