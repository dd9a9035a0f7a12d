"""What Orthanc says of an object's header (tags?simplify), and what follows from it."""

import fnmatch
from typing import Any

REJECTED = frozenset({"113001", "113037"})  # DCM, titles of a rejection note (IHE IOCM)
NODE_DEVICE = "2.25.118104320818200455475226253089291006681"  # Device UID (0018,1002) of all that a node makes


def values(tags: dict[str, Any], keyword: str) -> list[str]:
    """The values of an attribute, as Orthanc simplifies it; none if it is absent, empty or a sequence."""
    found = tags.get(keyword)
    return [one.strip() for one in found.split("\\") if one.strip()] if isinstance(found, str) else []


def made_by_node(tags: dict[str, Any]) -> bool:
    """Whether a node made the object: its Device UID says so."""
    return NODE_DEVICE in values(tags, "DeviceUID")


def original(tags: dict[str, Any]) -> bool:
    """Whether an image was acquired: nothing that was derived or made by a network, and nothing for research only."""
    kind = values(tags, "ImageType")
    return (
        kind[:1] == ["ORIGINAL"]
        and "SECONDARY" not in kind[1:2]
        and not any(value.startswith("AI_") for value in kind)
        and values(tags, "ContentQualification")[:1] != ["RESEARCH"]
        and not made_by_node(tags)
    )


def chosen(tags: dict[str, Any], conditions: tuple[dict[str, Any], ...]) -> bool:
    """Whether all of one condition fits: any value of the attribute, any of the patterns, whatever the letter case."""

    def fits(keyword: str, patterns: Any) -> bool:
        wanted = [patterns] if isinstance(patterns, str) else patterns
        return any(fnmatch.fnmatchcase(v.upper(), p.upper()) for v in values(tags, keyword) for p in wanted)

    return any(all(fits(keyword, patterns) for keyword, patterns in one.items()) for one in conditions)


def items(tags: dict[str, Any], *keywords: str) -> list[dict[str, Any]]:
    """The items of a sequence in a sequence, and so on."""
    found = [tags]
    for keyword in keywords:
        found = [item for one in found for item in (one.get(keyword) or []) if isinstance(item, dict)]
    return found


def coded(item: dict[str, Any], keyword: str) -> str:
    """Code Value of the first item of a code sequence; "" without one."""
    return next((str(code.get("CodeValue", "")) for code in items(item, keyword)), "")


def described(tags: dict[str, Any]) -> dict[str, str]:
    """What a node's object says of itself, for its metadata: kind, network, versions; flag, of a report."""
    network = (items(tags, "ContributingEquipmentSequence") or [{}])[-1]
    versions = values(network, "SoftwareVersions")
    said = {
        "kind": next((value for value in values(tags, "ImageType") if value.startswith("AI_")), "AI_TRIAGE"),
        "operation": str(network.get("ContributionDescription", "")),
        "network": str(network.get("ManufacturerModelName", "")),
        "network-version": versions[0] if versions else "",
        "weights": versions[1] if len(versions) > 1 else "",
        "node-version": (values(tags, "SoftwareVersions") or [""])[0],
    }
    if coded(tags, "ConceptNameCodeSequence") in REJECTED:
        said["kind"] = "AI_WITHDRAWAL"
    elif flag := _flag(tags):
        said["flag"] = flag
    return said


def _flag(item: dict[str, Any]) -> str:
    if coded(item, "ConceptNameCodeSequence") == "TRIAGE_FLAG":
        return coded(item, "ConceptCodeSequence")
    return next((flag for child in items(item, "ContentSequence") if (flag := _flag(child))), "")


def label_of(text: str) -> str:
    """A text as Orthanc takes it for a label: letters, digits, '-' and '_'."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text)[:64]
