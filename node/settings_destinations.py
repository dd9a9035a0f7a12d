"""Where derived series go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from node.settings_common import AETitle, Name, Part, Seconds


class DicomDestination(Part):
    """An archive or workstation that takes results by C-STORE."""

    kind: Literal["dicom"] = "dicom"
    name: Name
    ae_title: AETitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    calling_ae_title: AETitle | None = None  # default: the receiver's title
    connect_timeout_s: Seconds = 10.0
    response_timeout_s: Seconds = 30.0
    retry_hours: Seconds = 72.0
    retry_longest_s: Seconds = 300.0  # back-off: 5 s doubling to this, ±20 %
    probe_s: Seconds = 30.0  # an unreachable peer is probed this often


class FolderDestination(Part):
    """A folder that takes results as files; used by `imaging-node process`."""

    kind: Literal["folder"]
    name: Name
    path: Path
    retry_hours: Seconds = 72.0
    retry_longest_s: Seconds = 300.0
    probe_s: Seconds = 30.0


Destination = Annotated[DicomDestination | FolderDestination, Field(discriminator="kind")]
