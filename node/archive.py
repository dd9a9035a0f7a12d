"""The archive that is asked how many instances a series has, as evidence that it is complete."""

from collections.abc import Callable
from typing import Any

from node import app
from node.peers.dimse import query
from node.settings import Settings


def archive_of(settings: Settings) -> Callable[[str, str], int | None] | None:
    """Number of Series Related Instances (0020,1209) by Study and Series Instance UID; None if no archive is asked."""
    if settings.assemble.ask is None:
        return None
    archive: Any = settings.destination(settings.assemble.ask)
    if archive.kind in ("dicomweb", "orthanc"):
        web: Any = app.carriers_of(settings)(archive)
        return lambda study, series: web.instances_related(study_uid=study, series_uid=series)
    address = app.address_of(settings)
    return lambda study, series: query.instances_related(address(archive), study_uid=study, series_uid=series)
