"""Orthanc's own REST interface, asked from inside; labels and metadata."""

import json
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any

import orthanc  # given by the plug-in

from beside.settings import LABELS

_GONE = frozenset({7, 17})  # Orthanc's error codes: inexistent item, unknown resource


def get(path: str) -> Any:
    """The JSON behind a path of Orthanc's own REST interface; None where there is no such resource."""
    try:
        return json.loads(orthanc.RestApiGet(path))
    except orthanc.OrthancException as error:
        if error.args and error.args[0] in _GONE:
            return None
        raise


def post(path: str, body: Any) -> Any:
    """The JSON answer to JSON; plug-ins answer, too."""
    return json.loads(orthanc.RestApiPostAfterPlugins(path, json.dumps(body)) or b"null")


def now() -> str:
    """The moment, in UTC, to the second (ISO 8601)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lookup(uid: str, level: str) -> list[str]:
    """Orthanc's ids of a UID; level: Series or Instance."""
    found = json.loads(orthanc.RestApiPost("/tools/lookup", uid)) if uid else []
    return [str(one["ID"]) for one in found if one["Type"] == level]


class Marks:
    """Labels and metadata of series and studies. An Orthanc before 1.12.0 has no labels: metadata LABELS holds them."""

    def __init__(self) -> None:
        numbers = get("/system")["Version"].split(".")
        self._labels = not numbers[0].isdigit() or tuple(map(int, numbers[:2])) >= (1, 12)

    def metadata(self, level: str, orthanc_id: str, name: str) -> str:
        """The value; "" without one."""
        return str((get(f"/{level}/{orthanc_id}/metadata?expand") or {}).get(name, ""))

    def write(self, level: str, orthanc_id: str, name: str, value: str) -> None:
        """Set it, unless it is so already."""
        if self.metadata(level, orthanc_id, name) != value:
            orthanc.RestApiPut(f"/{level}/{orthanc_id}/metadata/{name}", value.encode())

    def labels(self, level: str, orthanc_id: str) -> set[str]:
        """Those that are there."""
        if self._labels:
            return set(get(f"/{level}/{orthanc_id}/labels") or [])
        return set(filter(None, self.metadata(level, orthanc_id, LABELS).split(",")))

    def label(self, level: str, orthanc_id: str, *, on: Set[str], off: Set[str] = frozenset()) -> None:
        """Put labels on and take others off; those of others stay."""
        there = self.labels(level, orthanc_id)
        wanted = (there - off) | on
        if wanted == there:
            return
        if self._labels:
            for one in wanted - there:
                orthanc.RestApiPut(f"/{level}/{orthanc_id}/labels/{one}", b"")
            for one in there - wanted:
                orthanc.RestApiDelete(f"/{level}/{orthanc_id}/labels/{one}")
        elif wanted:
            self.write(level, orthanc_id, LABELS, ",".join(sorted(wanted)))
        else:
            orthanc.RestApiDelete(f"/{level}/{orthanc_id}/metadata/{LABELS}")
