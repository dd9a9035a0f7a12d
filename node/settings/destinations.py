"""Where derived series go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from node.settings.common import AETitle, Seconds
from node.settings.delivery import Delivery
from node.settings.tls import Tls
from node.settings.web import DicomwebDestination, OrthancDestination


class DicomDestination(Delivery):
    """An archive or workstation that takes results by C-STORE."""

    kind: Literal["dicom"] = "dicom"
    ae_title: AETitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    calling_ae_title: AETitle | None = None  # default: the receiver's title
    connect_timeout_s: Seconds = 10.0
    response_timeout_s: Seconds = 30.0
    tls: Tls | None = None
    commitment: Literal["off", "ask"] = "off"  # whether a job counts as delivered only with proof
    commitment_wait_s: Annotated[float, Field(ge=0, le=600)] = 5.0  # for an answer on the same association
    commitment_retry_hours: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 6.0, 24.0)


class FolderDestination(Delivery):
    """A folder that takes results as files; used by `imaging-node process`."""

    kind: Literal["folder"]
    path: Path


Destination = Annotated[
    DicomDestination | FolderDestination | DicomwebDestination | OrthancDestination, Field(discriminator="kind")
]
