"""How the node listens, and to whom."""

from typing import Annotated

from pydantic import Field

from node.settings_common import AETitle, Name, Network, Part, Port, Seconds


class Receiver(Part):
    """How the node listens for series."""

    ae_title: AETitle
    host: str = "0.0.0.0"  # noqa: S104  a DICOM SCP is there to be reached; peers are checked by title and address
    port: Port = 11112
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 50
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 131_072
    network_timeout_s: Seconds = 60.0
    maximum_instance_mb: Annotated[int, Field(ge=1)] = 2048


class Peer(Part):
    """Somebody who may send to the node: title and address must both fit."""

    name: Name
    ae_title: AETitle
    addresses: Annotated[tuple[Network, ...], Field(min_length=1)]
