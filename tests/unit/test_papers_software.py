"""SBOM and licences: of the lock, valid, the same every time; nothing enters that nobody looked at."""

import hashlib
import importlib
import json
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from node.commands.papers import SHIPPED, written

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "deploy" / "papers"
LOCKS = ROOT / "deploy" / "lock"
REVIEWED = PAPERS / "build" / "reviewed.toml"
EXTRAS = ("mr", "gpu", "openvino", "triton")

of_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the papers tell the native libraries of the wheels for Linux on x86_64",
)


@pytest.fixture(scope="module")
def software() -> Iterator[Callable[..., None]]:
    """What `make papers` runs, in this process: a new one for each case would take longer than the work."""
    sys.path.insert(0, str(PAPERS / "build"))
    before = set(sys.modules)
    yield importlib.import_module("make").software
    sys.path.remove(str(PAPERS / "build"))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(PAPERS)):
            del sys.modules[name]


def locked(name: str) -> dict[str, str]:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;\\]+)", text, re.MULTILINE))


@pytest.fixture(scope="module")
def sbom() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAPERS / "software" / "sbom.cdx.json").read_text(encoding="utf-8"))
    return found


@of_linux
def test_the_papers_are_those_of_the_lock_and_the_same_every_time(
    software: Callable[..., None], tmp_path: Path
) -> None:
    software(tmp_path, locks=LOCKS, review=REVIEWED)

    kept = {path.name: path.read_bytes() for path in (PAPERS / "software").iterdir()}
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [name for name in kept | made if kept.get(name) != made.get(name)] == [], "run: make papers"


def test_the_papers_of_the_example_are_up_to_date() -> None:
    for name, text in written(ROOT / "deploy" / "node.example.toml").items():
        if name != "CONFORMANCE.md":  # test_conformance.py compares it
            assert (PAPERS / "example" / name).read_text(encoding="utf-8") == text, f"{name}: run `make papers`"


def test_the_sbom_is_valid_cyclonedx(sbom: dict[str, Any]) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    broken = {**sbom, "components": [{"type": "library"}]}

    assert validator.validate_str(json.dumps(sbom)) is None
    assert validator.validate_str(json.dumps(broken)) is not None


def test_every_package_of_the_locks_is_in_the_sbom_with_licence_and_hashes(sbom: dict[str, Any]) -> None:
    listed = {one["bom-ref"]: one for one in sbom["components"] if one["bom-ref"].startswith("pkg:pypi/")}
    everyone = {f"pkg:pypi/{name}@{version}" for name, version in locked("runtime").items()}
    more = {f"pkg:pypi/{name}@{version}" for extra in ("mr", "gpu") for name, version in locked(extra).items()}

    assert everyone | more <= listed.keys()
    assert {key for key, one in listed.items() if one["scope"] == "required"} == everyone
    assert [key for key, one in listed.items() if not one["licenses"]] == []
    assert [key for key, one in listed.items() if not one["externalReferences"][0]["hashes"]] == []
    digests = {
        entry["content"] for one in listed.values() for entry in one["externalReferences"][0]["hashes"]
    }  # fmt: skip
    assert set(re.findall(r"sha256:(\w{64})", (LOCKS / "runtime.txt").read_text(encoding="utf-8"))) <= digests


def test_the_extras_are_optional_and_say_so(sbom: dict[str, Any]) -> None:
    said = {
        extra
        for one in sbom["components"]
        for entry in one.get("properties", ())
        if entry["name"] == "imaging-node:extra" and one["scope"] == "optional"
        for extra in entry["value"].split(", ")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert said == set(EXTRAS)
    # An extra that is new is listed here or said to be none of a node.
    assert set(project["optional-dependencies"]) == {*EXTRAS, "train", "test"}


def test_every_reference_of_the_graph_is_a_component(sbom: dict[str, Any]) -> None:
    known = {one["bom-ref"] for one in sbom["components"]} | {sbom["metadata"]["component"]["bom-ref"]}
    known |= {part["bom-ref"] for one in sbom["components"] for part in one.get("components", ())}
    graph = {one["ref"]: one.get("dependsOn", []) for one in sbom["dependencies"]}

    assert {target for targets in graph.values() for target in targets} | graph.keys() <= known
    reached, queue = set(), ["imaging-node"]
    while queue:
        if (key := queue.pop()) not in reached:
            reached.add(key)
            queue.extend(graph.get(key, ()))
    unreached = {one["name"] for one in sbom["components"] if one["bom-ref"] not in reached}
    assert unreached <= {"setuptools"}  # it builds the editable install, and nothing needs it to run


def test_networks_are_named_with_digest_data_and_figures(sbom: dict[str, Any]) -> None:
    models = {one["name"]: one for one in sbom["components"] if one["type"] == "machine-learning-model"}
    files = (ROOT / "engines" / "weights").glob("*.onnx")
    weights = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert {name: one["hashes"][0]["content"] for name, one in models.items()} == weights
    for one in models.values():
        card = one["modelCard"]
        assert card["considerations"]["technicalLimitations"]
        assert card["quantitativeAnalysis"]["performanceMetrics"]
        assert all("licence: " in data["description"] for data in card["modelParameters"]["datasets"])


def test_what_lies_inside_wheels_is_told(sbom: dict[str, Any]) -> None:
    inside = {part["name"]: one["name"] for one in sbom["components"] for part in one.get("components", ())}

    assert inside["OpenSSL"] == "psycopg-binary"
    assert inside["libjpeg / libjpeg-turbo"] == "pillow"
    assert inside["CharLS"] == "pyjpegls"
    assert "libimagequant" not in inside  # GPL; the wheel of Pillow is built without


def test_every_package_stands_on_the_page_of_licences_and_the_gpl_is_marked() -> None:
    page = (PAPERS / "software" / "LICENCES.md").read_text(encoding="utf-8")
    locks = {(name, version) for file in ("runtime", "mr", "gpu") for name, version in locked(file).items()}

    assert [f"{name} {version}" for name, version in locks if f"| {name} {version} |" not in page] == []
    assert "| pylibjpeg-libjpeg 2.5.0 | GPL-3.0-only | copyleft |" in page


@of_linux
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("licences", '"MPL-2.0" = ', '"MPL-9.9" = '), "certifi"),
        (("licences", 'says = "MPL-2.0; Mozilla', 'says = "Other; Mozilla'), "look at it again"),
        (("licences", '"PDDL" = ', '"Other" = '), "data"),
        (("licences", 'of = "13.0.0"', 'of = "12.0.0"'), "looked at in pillow 12.0.0"),
        (("lock", "alembic==", "unheard-of==1.0 \\\n    --hash=sha256:00\nalembic=="), "knows no licence"),
        (("lock", "alembic==1", "alembic==2"), "knows no licence"),
    ],
    ids=["licence", "metadata", "data", "inside", "package", "version"],
)  # fmt: skip
def test_what_nobody_looked_at_stops_the_papers(
    software: Callable[..., None], change: tuple[str, str, str], said: str, tmp_path: Path
) -> None:
    where, old, new = change
    locks, reviewed = tmp_path / "lock", tmp_path / "reviewed.toml"
    locks.mkdir()
    for path in LOCKS.glob("*.txt"):
        (locks / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    reviewed.write_text(REVIEWED.read_text(encoding="utf-8"), encoding="utf-8")
    changed = reviewed if where == "licences" else locks / "runtime.txt"
    assert old in changed.read_text(encoding="utf-8")
    changed.write_text(changed.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    with pytest.raises(SystemExit, match=said):
        software(tmp_path / "to", locks=locks, review=reviewed)
    assert not (tmp_path / "to").exists()


def test_the_wheel_brings_the_papers_of_the_software() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]

    assert data["node.papers"] == ["mds2.toml", "shipped/*"]
    assert {path.name for path in SHIPPED.iterdir()} == {"sbom.cdx.json", "LICENCES.md", "NOTICES.txt"}
