"""Settings: every fault stops the start, with one message that names the key and what it may be."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.errors import BadSetting
from node.settings import FolderDestination, load, parse

GOOD: dict[str, Any] = {
    "node": {"state": "/var/lib/imaging-node"},
    "receiver": {"ae_title": "IMAGING-NODE"},
    "peers": [{"name": "scanner", "ae_title": "CT1", "addresses": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]}],
    "destinations": [
        {"kind": "dicom", "name": "pacs", "ae_title": "PACS", "host": "pacs.example", "port": 104},
        {"kind": "folder", "name": "desk", "path": "/srv/desk"},
    ],
    "rules": [{"name": "ct", "pipeline": "ct-denoise", "destinations": ["pacs"], "where": {"Modality": "CT"}}],
}
AE_TITLE = "an AE title has 1 to 16 printable ASCII characters, no backslash, no blank at either end"
NAME = "a name has 1 to 32 letters, digits, '-' or '_'"


def changed(path: Sequence[str | int], value: object) -> dict[str, Any]:
    """The good settings with one value put in, tables made on the way."""
    raw: Any = copy.deepcopy(GOOD)
    *way, last = path
    at = raw
    for step in way:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    at[last] = value
    return raw  # type: ignore[no-any-return]


def fault(raw: dict[str, Any]) -> str:
    with pytest.raises(BadSetting) as caught:
        parse(raw, source="node.toml")
    message = str(caught.value)
    assert message.startswith("Settings in node.toml: ")
    assert message.endswith("Mend the file and start again.")
    assert "\n" not in message
    return message


def test_the_smallest_file_has_defaults_that_the_standard_and_the_spec_ask_for() -> None:
    settings = parse(copy.deepcopy(GOOD), source="node.toml")

    assert settings.receiver.port == 11112
    assert settings.assemble.quiet_s == 30.0
    assert settings.assemble.ask is None
    assert settings.page.host == "127.0.0.1"
    assert isinstance(settings.destination("desk"), FolderDestination)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("nod",), "nod"),
        (("node", "sate"), "node.sate"),
        (("receiver", "prot"), "receiver.prot"),
        (("peers", 0, "adress"), "peers.0.adress"),
        (("assemble", "quiet"), "assemble.quiet"),
        (("destinations", 0, "hots"), "destinations.0.dicom.hots"),
        (("destinations", 1, "port"), "destinations.1.folder.port"),
        (("rules", 0, "wher"), "rules.0.wher"),
        (("rules", 0, "where", "Modality"), "rules.0.where.Modality.x"),
        (("engines", "gpu"), "engines.gpu"),
        (("decoder", "mb"), "decoder.mb"),
        (("page", "prot"), "page.prot"),
    ],
)
def test_an_unknown_key_is_named_at_every_level(path: tuple[str | int, ...], key: str) -> None:
    assert f"{key}: unknown key." in fault(changed(path, {"x": 1}))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("receiver", "ae_title"), "SEVENTEEN-LETTERS", f"receiver.ae_title: {AE_TITLE}"),
        (("receiver", "ae_title"), "", f"receiver.ae_title: {AE_TITLE}"),
        (("receiver", "ae_title"), "A\\B", f"receiver.ae_title: {AE_TITLE}"),
        (("receiver", "ae_title"), " NODE", f"receiver.ae_title: {AE_TITLE}"),
        (("receiver", "ae_title"), "KNÖTEN", f"receiver.ae_title: {AE_TITLE}"),
        (("peers", 0, "ae_title"), "A\nB", f"peers.0.ae_title: {AE_TITLE}"),
        (("destinations", 0, "ae_title"), "A" * 17, f"destinations.0.dicom.ae_title: {AE_TITLE}"),
        (("receiver", "port"), 65536, "receiver.port: Input should be less than or equal to 65535"),
        (("receiver", "port"), "dicom", "receiver.port: Input should be a valid integer"),
        (("destinations", 0, "port"), 0, "destinations.0.dicom.port: Input should be greater than or equal to 1"),
        (("peers", 0, "addresses"), ["10.0.0.300"], "peers.0.addresses.0: '10.0.0.300' does not appear to be an IPv4"),
        (("peers", 0, "addresses"), [], "peers.0.addresses: Tuple should have at least 1 item"),
        (("destinations",), [], "destinations: Tuple should have at least 1 item"),
        (("destinations", 0, "kind"), "s3", "does not match any of the expected tags: 'dicom', 'folder'"),
        (("destinations", 0, "name"), "main pacs", f"destinations.0.dicom.name: {NAME}"),
        (("rules",), [], "rules: Tuple should have at least 1 item"),
        (("rules", 0, "destinations"), [], "rules.0.destinations: Tuple should have at least 1 item"),
        (("rules", 0, "destinations"), ["pasc"], "rule 'ct' names destination 'pasc'; known are desk, pacs"),
        (("rules", 0, "where", "Modalitty"), "CT", "rule 'ct' asks for 'Modalitty'; did you mean Modality?"),
        (("rules", 0, "where", "PatientName"), "A*", "rule 'ct' asks for 'PatientName'; known are "),
        (("rules", 0, "where", "KVP"), {"min": 9, "max": 1}, "rules.0.where.KVP: a range from 9 to 1 holds nothing"),
        (("rules", 0, "where", "KVP"), [], "rules.0.where.KVP: a set holds at least one text or number"),
        (("assemble", "ask"), "desk", "assemble.ask names 'desk', which is no destination that can be asked"),
        (("assemble", "quiet_s"), 0, "assemble.quiet_s: Input should be greater than 0"),
        (("assemble", "settle_s"), -1, "assemble.settle_s: Input should be greater than 0"),
        (("node", "log_level"), "loud", "node.log_level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (("node", "station_name"), "A\\B", "node.station_name: String should match pattern"),
        (("node", "disk_reserve_mb"), -1, "node.disk_reserve_mb: Input should be greater than or equal to 0"),
        (("engines", "threads"), 0, "engines.threads: Input should be greater than or equal to 1"),
        (("decoder", "memory_mb"), 1, "decoder.memory_mb: Input should be greater than or equal to 512"),
        (("peers",), GOOD["peers"] * 2, "peers: the name 'scanner' is used twice; give each its own"),
        (("destinations",), [GOOD["destinations"][0]] * 2, "destinations: the name 'pacs' is used twice"),
        (("rules",), GOOD["rules"] * 2, "rules: the name 'ct' is used twice"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_what_it_may_be(
    path: tuple[str | int, ...], value: object, said: str
) -> None:
    assert said in fault(changed(path, value))


@pytest.mark.parametrize("path", [("node",), ("receiver",), ("destinations",), ("rules",)])
def test_a_missing_table_is_named(path: tuple[str]) -> None:
    raw = copy.deepcopy(GOOD)
    del raw[path[0]]

    assert f"{path[0]}: Field required" in fault(raw)


def test_several_faults_are_told_at_once_and_nothing_else() -> None:
    raw = changed(("receiver", "ae_title"), "A\\B")
    raw["receiver"]["prot"] = 104
    del raw["node"]["state"]
    del raw["rules"][0]["pipeline"]

    assert fault(raw) == (
        f"Settings in node.toml: node.state: Field required; receiver.ae_title: {AE_TITLE}; "
        "receiver.prot: unknown key; rules.0.pipeline: Field required. Mend the file and start again."
    )


def test_a_fault_in_the_only_item_of_a_list_is_not_told_twice() -> None:
    assert "at least 1 item" not in fault(changed(("peers", 0, "addresses"), ["nowhere"]))


def test_a_file_that_is_not_there_or_no_toml_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"cannot be read: No such file or directory. Name one with -c FILE"):
        load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[node\nstate = 1\n")
    with pytest.raises(BadSetting, match=r"broken.toml is not TOML: .*line 1.*\. Mend that line"):
        load(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match="is not TOML"):
        load(broken)


def test_a_reserve_for_urgent_peers_leaves_something_for_the_others() -> None:
    raw = changed(("receiver", "maximum_associations"), 2)
    assert parse(raw, source="x").receiver.reserved_associations == 2, "nobody is urgent: nothing is kept"
    raw["peers"][0]["urgent"] = True
    assert "receiver.reserved_associations (2) leaves no association of 2 for peers other than" in fault(raw)
