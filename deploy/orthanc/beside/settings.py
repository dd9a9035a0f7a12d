"""Table ImagingNode of orthanc.json."""

from dataclasses import dataclass
from typing import Any

SENT, MADE, LABELS = "ImagingNodeSent", "ImagingNodeMade", "ImagingNodeLabels"  # UserMetadata of orthanc.json
SHORTEST = 12  # password


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Table ImagingNode of orthanc.json; its keys are these in CamelCase."""

    way: str = "dicom"  # dicom, dicomweb, rest (the node fetches what is offered), or off (labels only)
    modality: str = "imaging-node"  # of DicomModalities
    server: str = "imaging-node"  # of DicomWeb.Servers
    users: tuple[str, ...] = ("imaging-node",)  # whom the node signs in as; what they bring is never sent
    choose: tuple[dict[str, Any], ...] = ({"Modality": ["CT", "MR"]},)  # DICOM keyword -> pattern or patterns
    history: bool = False  # at the very first start: also what is there already
    every_seconds: float = 5.0  # between looks
    longest_pause_seconds: float = 60.0  # after failures: 5 s doubling to this
    no_result_hours: float = 24.0  # then a series that was sent, and of which nothing came, is labelled so
    stable_age: float = 60.0  # Orthanc's own, s; no key of the table

    def __post_init__(self) -> None:
        if self.way not in ("dicom", "dicomweb", "rest", "off"):
            raise ValueError(f"ImagingNode.Way is {self.way}: use dicom, dicomweb, rest or off.")
        if self.every_seconds <= 0 or self.longest_pause_seconds <= 0 or self.no_result_hours <= 0:
            raise ValueError("ImagingNode: seconds and hours are above 0.")
        if not self.choose or not all(isinstance(one, dict) and one for one in self.choose):
            raise ValueError("ImagingNode.Choose is a list of conditions, each with at least one DICOM keyword.")


def settings_of(configuration: dict[str, Any]) -> Settings:
    """The table of Orthanc's configuration. Raises ValueError for what it does not know, and for an open door."""
    names = [name for name in Settings.__dataclass_fields__ if name != "stable_age"]
    known = {name.title().replace("_", ""): name for name in names}
    table = configuration.get("ImagingNode", {})
    if strange := sorted(set(table) - set(known)):
        raise ValueError(f"ImagingNode.{strange[0]} is no setting: use {', '.join(known)}.")
    users = configuration.get("RegisteredUsers") or {}
    if not configuration.get("AuthenticationEnabled") or not users or min(map(len, users.values())) < SHORTEST:
        raise ValueError(f"AuthenticationEnabled is true, and every password has at least {SHORTEST} characters.")
    if missing := sorted({SENT, MADE, LABELS} - set(configuration.get("UserMetadata", {}))):
        raise ValueError(f"{missing[0]} is not in UserMetadata.")
    lists = {known[key]: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Settings(**lists, stable_age=float(configuration.get("StableAge", 60)))
