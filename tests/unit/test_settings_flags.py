"""Who is told of verdicts: what the settings refuse before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from node.errors import BadSetting
from node.settings import Settings, parse
from tests.running_node import settings_for

HL7 = {"name": "ris", "host": "10.0.0.30", "port": 2575}
ORTHANC = {"kind": "orthanc", "name": "archive", "url": "http://127.0.0.1:8042"}


def settings(folder: Path, **worklist: Any) -> Settings:
    raw = settings_for(folder)
    raw["destinations"].append(ORTHANC)
    return parse({**raw, "worklist": worklist}, source="the test")


def test_channels_are_named_once_for_all_ways(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="'ris' is there twice"):
        settings(tmp_path, hl7=[HL7], labels=[{"name": "ris", "destination": "archive"}])


def test_all_channels_are_told(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        hl7=[HL7],
        webhooks=[{"name": "hook", "url": "https://example.org/hook"}],
        labels=[{"name": "label", "destination": "archive"}],
    )

    assert [one.name for one in found.worklist.channels] == ["ris", "hook", "label"]
    assert "hook" in [one.name for one in found.sites], "its secrets and certificates are looked at before the start"


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("hl7", {**HL7, "receiving_application": "A|B"}, "printable ASCII"),
        ("hl7", {**HL7, "receiving_facility": "x" * 21}, "at most 20"),
        ("hl7", {**HL7, "character_set": "EBCDIC"}, "character_set"),
        ("hl7", {**HL7, "port": 0}, "port"),
        ("hl7", {**HL7, "retries": 3}, "unknown key"),
        ("webhooks", {"name": "hook", "url": "http://example.org/hook"}, "plain = true"),
        ("webhooks", {"name": "hook", "url": "http://example.org/hook", "plain": True, "token_file": "/t"}, "https"),
        ("labels", {"name": "label", "destination": "folder"}, "none of kind orthanc"),
        ("labels", {"name": "label", "destination": "archive", "flagged": "ai-not-analysable"}, "a label of its own"),
        ("labels", {"name": "label", "destination": "archive", "flagged": "ai flag"}, "a label has"),
    ],
)
def test_what_cannot_be_is_refused(table: str, values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=message):
        settings(tmp_path, **{table: [values]})


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "https://example.org/hook"])
def test_webhook_on_this_machine_or_by_https_needs_no_permission(url: str, tmp_path: Path) -> None:
    assert settings(tmp_path, webhooks=[{"name": "hook", "url": url}]).worklist.webhooks[0].url == url
