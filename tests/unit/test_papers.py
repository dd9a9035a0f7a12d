"""The port sheet and the picture say what the settings open and call; no table of the settings is left out."""

import json
import shutil
import subprocess
import typing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import BaseModel, create_model

from node.commands import papers
from node.papers import firewall
from node.papers.connections import READERS, Unread, connections, endpoints
from node.papers.facts import Connections
from node.papers.picture import picture
from node.papers.ports import plainly, sheet
from node.papers.svg import wrapped
from node.settings import Settings, load, parse
from node.settings.common import Part
from tests.running_node import settings_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "node.example.toml"
SVG = "{http://www.w3.org/2000/svg}"

TLS = {"certificate": "/c.pem", "key": "/k.pem", "ca": "/ca.pem"}
EVERYWHERE: dict[str, Any] = {
    "receiver": {"ae_title": "NODE", "host": "203.0.113.1", "port": 10001, "plain": True,
                 "tls": {"port": 10002, **TLS}},
    "peers": [
        {"name": "ct", "ae_title": "CT", "addresses": ["203.0.113.2"], "host": "203.0.113.3", "port": 10003},
        {"name": "mr", "ae_title": "MR", "addresses": ["203.0.113.4/31"], "subject": "mr.example.org"},
    ],
    "destinations": [
        {"kind": "dicom", "name": "d1", "ae_title": "D1", "host": "203.0.113.5", "port": 10005},
        {"kind": "dicomweb", "name": "d2", "url": "https://203.0.113.6:10006/dicom-web"},
        {"kind": "orthanc", "name": "d3", "url": "http://203.0.113.7:10007"},
        {"kind": "folder", "name": "d4", "path": "/mnt/results"},
    ],
    "sources": [{"kind": "orthanc", "name": "s", "url": "http://203.0.113.8:10008"}],
    "page": {"host": "203.0.113.9", "port": 10009, "without_login": True},
    "stow": {"host": "203.0.113.10", "port": 10010, "senders": [{"ae_title": "WEB", "token_file": "/t"}], "tls": TLS},
    "engines": {"backend": "triton", "triton_url": "203.0.113.11:10011"},
    "worklist": {
        "hl7": [{"name": "h", "host": "203.0.113.12", "port": 10012}],
        "webhooks": [{"name": "w", "url": "https://203.0.113.13:10013/hook"}],
        "labels": [{"name": "l", "destination": "d3"}],
    },
}  # fmt: skip
"""Every kind of table that holds an address, each with an address and a port of its own."""


def raw_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    raw = settings_for(folder) | EVERYWHERE | changes
    raw["rules"] = [{"name": "r", "pipeline": "ct-denoise", "destinations": [raw["destinations"][0]["name"]]}]
    return raw


def configured(folder: Path, **changes: Any) -> Settings:
    return parse(raw_settings(folder, **changes), source="the test")


def models(kind: Any, seen: set[Any] | None = None) -> set[type[BaseModel]]:
    """Every model that the settings may hold, by the types of their fields."""
    seen = set() if seen is None else seen
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            seen.add(kind)
            for field in kind.model_fields.values():
                models(field.annotation, seen)
    else:
        for inner in typing.get_args(kind):
            models(inner, seen)
    return seen


def texts(svg: str) -> str:
    return " ".join("".join(one.itertext()) for one in ElementTree.fromstring(svg).iter())  # noqa: S314  our own


def test_every_table_of_the_settings_that_holds_an_address_has_a_reader() -> None:
    holding = {model: endpoints(model) for model in models(Settings) if endpoints(model)}

    assert {model.__name__: keys for model, keys in holding.items() if model not in READERS} == {}
    assert len(holding) >= 11
    assert set(READERS) <= set(models(Settings))


def test_a_table_that_no_reader_knows_stops_the_papers(tmp_path: Path) -> None:
    channel = create_model("Pager", __base__=Part, server_port=(int, 7))
    wider = create_model("Wider", __base__=Settings, pagers=(tuple[channel, ...], (channel(),)))  # type: ignore[valid-type]

    with pytest.raises(Unread, match=r"pagers.1 holds server_port"):
        connections(wider.model_validate(raw_settings(tmp_path)))


def test_every_address_and_port_of_the_settings_stands_in_sheet_and_picture(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    found = connections(settings)
    written = sheet(settings, found, version="1")
    drawn = texts(picture(settings, found, version="1"))

    ports = [str(port) for port in (10001, 10002, 10003, *range(10005, 10014))]
    called = [f"203.0.113.{n}" for n in (3, 5, 6, 7, 8, 11, 12, 13)]
    listening = ["203.0.113.1", "203.0.113.9", "203.0.113.10"]
    assert [one for one in [*ports, *called, *listening, "203.0.113.2", "203.0.113.4/31"] if one not in written] == []
    assert [one for one in [*ports, *called, *listening, "203.0.113.2", "/mnt/results"] if one not in drawn] == []
    assert len(found.listeners) == 4
    assert len(found.called) == len(called)


@pytest.mark.parametrize("reader", list(READERS), ids=lambda model: model.__name__)
def test_no_reader_can_be_left_out_unnoticed(reader: type[BaseModel], tmp_path: Path) -> None:
    """The negative control: without one of them something is missing, or the papers stop."""
    less = {model: read for model, read in READERS.items() if model is not reader}
    settings = configured(tmp_path)
    try:
        found = connections(settings, less)
    except Unread:
        return

    assert found != connections(settings)


def test_what_is_closed_is_not_on_the_sheet(tmp_path: Path) -> None:
    settings = configured(
        tmp_path, receiver={"ae_title": "NODE", "tls": TLS}, engines={"triton_url": "203.0.113.11:10011"}
    )
    found = connections(settings)

    assert [one.port for one in found.listeners] == [2762, 10009, 10010]
    assert "triton" not in {one.name for one in found.called}
    assert "In the settings, and no open port lets them in: ct." in sheet(settings, found, version="1")


def test_what_is_not_encrypted_is_said(tmp_path: Path) -> None:
    bare = plainly(connections(configured(tmp_path)))
    everything = {"peers.ct", "destinations.d1", "destinations.d3", "sources.s", "worklist.hl7.h", "engines.triton_url"}
    safe = configured(
        tmp_path,
        receiver={"ae_title": "NODE", "tls": TLS},
        peers=[{"name": "mr", "ae_title": "MR", "addresses": ["203.0.113.4"], "subject": "mr.example.org"}],
        destinations=[{"kind": "dicom", "name": "d1", "ae_title": "D1", "host": "a", "port": 104, "tls": TLS}],
        sources=[],
        engines={},
        worklist={"hl7": [{"name": "h", "host": "203.0.113.12", "port": 10012, "tls": {}}]},
    )

    assert set(bare) == everything
    assert plainly(connections(safe)) == []
    assert "Nothing with data of patients leaves" in sheet(safe, connections(safe), version="1")


def test_the_picture_is_accessible_and_the_same_every_time(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    drawn = picture(settings, connections(settings), version="1")
    root = ElementTree.fromstring(drawn)  # noqa: S314  our own

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert "data to the node" in (root.findtext(f"{SVG}desc") or "")
    assert all(group.find(f"{SVG}title") is not None for group in root.iter(f"{SVG}g"))
    assert drawn == picture(settings, connections(settings), version="1")


def test_names_cannot_break_picture_sheet_or_firewall(tmp_path: Path) -> None:
    hostile = 'x<script>&"|\n        tcp dport 22 accept\x07'
    destinations = [{"kind": "dicom", "name": "d1", "ae_title": "<&>", "host": hostile, "port": 104}]
    settings = configured(tmp_path, destinations=destinations, worklist={}, page={})
    found = connections(settings)

    drawn = ElementTree.fromstring(picture(settings, found, version="1"))  # noqa: S314  our own
    assert not [one for one in drawn.iter() if one.tag.endswith("script")]
    written = sheet(settings, found, version="1")
    assert [line for line in written.splitlines() if line.lstrip().startswith("tcp dport 22")] == []


@pytest.mark.parametrize("count", [0, 1, 12, 40])
def test_boxes_of_the_picture_lie_apart_and_inside(count: int, tmp_path: Path) -> None:
    peers = [
        {"name": f"a-modality-with-a-long-name-{n}", "ae_title": f"CT{n}", "addresses": ["203.0.113.0/24"] * (n + 1)}
        for n in range(count)
    ]
    destinations = [
        {"kind": "dicom", "name": f"pacs-{n}", "ae_title": "P", "host": f"pacs-{n}.{'very-' * 9}long.org", "port": 104}
        for n in range(max(1, count))
    ]
    settings = configured(tmp_path, peers=peers, destinations=destinations, worklist={})
    root = ElementTree.fromstring(picture(settings, connections(settings), version="1"))  # noqa: S314  our own
    boxes = [
        tuple(int(one.get(key, "0")) for key in ("x", "y", "width", "height"))
        for group in root.iter(f"{SVG}g")
        for one in group.findall(f"{SVG}rect")
    ]
    width, height = int(root.get("width", "0")), int(root.get("height", "0"))

    assert len(boxes) >= 2 * count
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    overlaps = [
        (a, b)
        for place, a in enumerate(boxes)
        for b in boxes[place + 1 :]
        if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
    ]
    assert overlaps == []


def test_long_words_are_cut_at_a_sign_near_the_end_and_with_an_ellipsis() -> None:
    assert wrapped("the-archive.radiology.example.org", 120, most=2) == ["the-archive.", "radiology.…"]
    assert wrapped("", 120, most=3) == []


def firewall_of(found: Connections) -> str:
    return firewall.rules(found, user="nobody")


def test_the_firewall_lets_in_and_out_what_the_sheet_names(tmp_path: Path) -> None:
    written = firewall_of(connections(configured(tmp_path)))

    assert "ip saddr 203.0.113.2 tcp dport 10001 accept  # peers.ct" in written
    assert "ip saddr 203.0.113.4/31 tcp dport 10002 accept  # peers.mr" in written
    assert "ip daddr 203.0.113.12 tcp dport 10012 accept  # worklist.hl7.h" in written
    assert "# ip saddr <address of monitoring> tcp dport 10009 accept" in written
    assert [f"tcp dport {port} drop" in written for port in (10001, 10002, 10009, 10010)] == [True] * 4
    assert "dport 53" not in written  # all are addresses


@pytest.mark.parametrize("raw", [EVERYWHERE, None], ids=["everything", "example"])
def test_nft_takes_the_firewall(raw: dict[str, Any] | None, tmp_path: Path) -> None:
    nft = shutil.which("nft")
    if nft is None:
        pytest.skip("nft (Debian: nftables) is not installed")
    settings = load(EXAMPLE) if raw is None else configured(tmp_path)
    file = tmp_path / "rules.nft"
    file.write_text(firewall_of(connections(settings)), encoding="utf-8")
    done = subprocess.run([nft, "--check", "--file", str(file)], capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr or "cache initialization failed" in done.stderr:
        pytest.skip("nft may not ask the kernel here")

    assert done.returncode == 0, done.stderr
    file.write_text(file.read_text(encoding="utf-8").replace("tcp dport", "tcp port"), encoding="utf-8")
    assert subprocess.run([nft, "--check", "--file", str(file)], capture_output=True, check=False).returncode != 0


def test_the_command_writes_every_paper_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "sbom.cdx.json").write_text(json.dumps({}), encoding="utf-8")
    files = papers.papers(EXAMPLE, tmp_path / "to", shipped=tmp_path / "shipped")

    assert {"CONFORMANCE.md", "PORTS.md", "data-flow.svg", "sbom.cdx.json"} <= {path.name for path in files}
    assert all(path.stat().st_size for path in files)
