"""Copies of a node's state that outlive its disk, and a node made anew from one.

What is backed up: the records, the files that they name (received objects, results), the engines of the site and the
settings; keys and secrets where that is asked for. Not DBOS's database: the records say what is under way, and copies
of both could never be of one moment.
"""

import json
from pathlib import Path

LAST = "backup.last"


def last_success(state: Path) -> float:
    """When the newest whole backup of a state folder was taken, in seconds since the epoch; 0 if there is none."""
    try:
        return float(json.loads((state / LAST).read_text(encoding="utf-8"))["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
