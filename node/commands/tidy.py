"""`imaging-node purge`: what the worker does once an hour, now, or only said."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node import app
from node.errors import BadSetting
from node.purge import purge as remove
from node.records.database import Records
from node.settings import load


def purge(records: Records, settings_file: Path, *, dry_run: bool) -> dict[str, Any]:
    """Remove the files of series that are done with, or say which ones would go. Raises BadSetting if all is kept."""
    settings = load(settings_file)
    if settings.node.keep_days == "forever":
        raise BadSetting('node.keep_days is "forever".', fix="Set it to a number of days.")
    done = remove(records, app.spool_of(settings), keep_days=settings.node.keep_days, clock=time.time, dry_run=dry_run)
    return {
        "removed": not dry_run,
        "series": [one.series_uid for one in done],
        "instances": sum(len(one.files) for one in done),
        "bytes": sum(one.bytes for one in done),
    }


def text(found: Mapping[str, Any]) -> str:
    """For people."""
    verb = "Removed" if found["removed"] else "Would remove"
    size = f"{found['instances']} instances, {found['bytes'] >> 20} MB"
    return f"{verb} the files of {len(found['series'])} series ({size})."
