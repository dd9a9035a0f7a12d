"""How the node listens, and to whom."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from node.settings.common import AETitle, Name, Network, Part, Port, Seconds, is_loopback
from node.settings.tls import Tls


class ReceiverTls(Tls):
    """The port for senders that show a certificate; `receiver.host` is its address too."""

    port: Port = 2762  # registered for DICOM over TLS, PS3.15 B


class Receiver(Part):
    """How the node listens for series."""

    ae_title: AETitle
    host: str = "0.0.0.0"  # noqa: S104  a DICOM SCP is there to be reached; peers are checked by title and address
    port: Port = 11112
    plain: bool = False  # open `port` to other machines although nothing on it is encrypted or proven
    processes: Annotated[int, Field(ge=1, le=32)] = 2  # on the same ports
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 100  # of all processes
    maximum_associations_per_address: Annotated[int, Field(ge=1, le=1000)] = 20
    reserved_associations: Annotated[int, Field(ge=0, le=1000)] = 2  # of all, for urgent peers, if there are any
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 131_072
    request_timeout_s: Seconds = 10.0  # from the connection to the end of its association request, TLS included
    pdu_timeout_s: Seconds = 30.0  # for one PDU, from its first byte to its last
    minimum_bytes_per_s: Annotated[float, Field(ge=0)] = 1000.0  # of a data set that takes longer than one PDU may
    network_timeout_s: Seconds = 60.0
    maximum_instance_mb: Annotated[int, Field(ge=1)] = 2048
    tls: ReceiverTls | None = None

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.tls is not None and self.tls.port == self.port != 0:
            raise ValueError(f"port and tls.port are both {self.port}; give each its own")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def opens_plain(self) -> bool:
        """Whether the port without TLS is opened."""
        return self.plain or self.is_local

    def unsafe(self) -> Iterator[str]:
        """What must not be opened like this, and what to do."""
        if not self.opens_plain and self.tls is None:
            yield (
                f"receiver.host is {self.host}, so that other machines reach a port without encryption or proof of who "
                "calls; set [receiver.tls], or in a closed network receiver.plain = true, or host 127.0.0.1"
            )


class Peer(Part):
    """Somebody who may send to the node: title and address must both fit."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"host": ["port"], "port": ["host"], "tls": ["host"]}}
    )

    name: Name
    ae_title: AETitle
    addresses: Annotated[tuple[Network, ...], Field(min_length=1)]
    subject: Annotated[str, Field(min_length=1, max_length=253)] | None = None  # CN or SAN of its certificate; TLS only
    evidence: bool = False  # whether its MPPS and availability notifications say when a series is complete
    urgent: bool = False  # whether it comes in while others hold all associations that they may have
    host: Annotated[str, Field(min_length=1)] | None = None  # where the node calls it to report on workitems
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: Tls | None = None  # for that call; not set: without TLS

    @model_validator(mode="after")
    def _host_and_port(self) -> Self:
        if (self.host is None) != (self.port is None) or (self.tls is not None and self.host is None):
            raise ValueError("host and port go together, and tls with them")
        return self
