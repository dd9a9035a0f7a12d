"""The JSON Schema of the settings: what it refuses the node refuses, and the example's comments are its words."""

import copy
import datetime
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from node import settings
from node.__main__ import app
from node.errors import BadSetting
from node.settings import schema

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = tomllib.loads((DEPLOY / "node.example.toml").read_text(encoding="utf-8"))
SCHEMA = schema.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LEFT_OUT = object()
Path_ = tuple[str | int, ...]


def leaves(value: object, path: Path_ = ()) -> Iterator[Path_]:
    """Where the values of a file are that are no tables."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path


def changed(path: Path_, value: object) -> dict[str, Any]:
    """The example with one value put in, or left out."""
    raw: Any = copy.deepcopy(EXAMPLE)
    *way, last = path
    at = raw
    for step in way:
        at = at[step]
    if value is LEFT_OUT:
        del at[last]
    else:
        at[last] = value
    return raw  # type: ignore[no-any-return]


def node_takes(raw: dict[str, Any]) -> bool:
    try:
        settings.parse(raw, source="node.toml")
    except BadSetting:
        return False
    return True


def test_the_file_beside_the_example_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(app, ["schema"])

    assert printed.exit_code == 0
    assert printed.stdout == (DEPLOY / "node.schema.json").read_text(encoding="utf-8"), (
        "write it anew: imaging-node schema > deploy/node.schema.json"
    )


def test_it_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


def test_the_example_names_its_schema_and_fits_it() -> None:
    first = (DEPLOY / "node.example.toml").read_text(encoding="utf-8").splitlines()[0]

    assert first == "#:schema ./node.schema.json"
    assert list(VALIDATOR.iter_errors(EXAMPLE)) == []
    assert node_takes(EXAMPLE)


def test_every_setting_is_described() -> None:
    tables = {name: table for name, table in SCHEMA["$defs"].items() if name != "Conditions"} | {"the file": SCHEMA}
    bare = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, value in table.get("properties", {}).items()
        if not value.get("description")
    ]

    assert bare == []


def test_every_line_of_the_example_has_a_comment() -> None:
    tables = {key for key, value in SCHEMA["properties"].items() if "$ref" in value or "items" in value}
    lines = [
        (table, key, words) for table, key, words in schema.lines(schema.example()) if key not in tables | {"where"}
    ]

    assert len(lines) > 200
    assert [f"{table}.{key}" for table, key, words in lines if not words] == []


def test_comments_of_bounded_settings_give_the_range() -> None:
    bounded = [
        (name, key, value, f"{value['minimum']} to {value['maximum']}")
        for name, table in SCHEMA["$defs"].items()
        for key, value in table.get("properties", {}).items()
        if {"minimum", "maximum"} <= value.keys()
    ]

    assert len(bounded) > 15
    assert [
        f"{name}.{key}: {phrase}" for name, key, value, phrase in bounded if phrase not in value["description"]
    ] == []
    said = schema.words(schema.example()).items()
    words = {(model.__name__, key): words for (model, key), words in said}
    assert [f"{n}.{k}" for n, k, _, phrase in bounded if phrase not in words[n, k]] == [], "in the example, too"


def test_a_line_that_is_not_explained_is_found() -> None:
    lines = list(
        schema.lines('# About it.\n[node]\nstate = "x"  # where\n          # and more\nkeep_days = 3\n\nport = 1\n')
    )

    assert lines == [
        ("", "node", "About it."),
        ("node", "state", "where and more"),
        ("node", "keep_days", ""),
        ("node", "port", ""),
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nod",), {}),
        (("receiver", "prot"), 104),
        (("destinations", 0, "path"), "/srv"),
        (("destinations", 2, "ae_title"), "PACS"),
        (("rules", 0, "where", "Modalitty"), "CT"),
        (("rules", 0, "where", "PatientName"), "A*"),
        (("rules", 0, "where", "Modality"), {"min": 1, "present": True}),
        (("rules", 0, "where", "Modality"), []),
        (("worklist", "scanners", 0, "where"), {}),
        (("receiver", "port"), "104"),
        (("receiver", "port"), 65536),
        (("receiver", "tls", "port"), -1),
        (("destinations", 0, "port"), 0),
        (("receiver", "plain"), "yes"),
        (("receiver", "plain"), 1),
        (("assemble", "quiet_s"), "30"),
        (("assemble", "quiet_s"), 0),
        (("assemble", "quiet_s"), True),
        (("receiver", "ae_title"), "SEVENTEEN-LETTERS"),
        (("receiver", "ae_title"), " NODE"),
        (("peers", 0, "ae_title"), "A\\B"),
        (("peers", 0, "addresses"), []),
        (("peers", 0, "addresses"), ["pacs.example.org"]),
        (("peers", 0, "name"), "the pacs"),
        (("peers", 0, "host"), "10.0.0.7"),
        (("sources", 0, "url"), "gateway:8042"),
        (("sources", 0, "url"), "http://user:word@gateway"),
        (("node", "keep_days"), "always"),
        (("node", "log_level"), "loud"),
        (("destinations", 0, "kind"), "s3"),
        (("worklist", "hl7", 0, "sending_application"), "A|B"),
        (("worklist", "objects"), ["picture"]),
        (("engines", "backend"), "triton"),
        (("engines", "triton_certificate"), "/etc/node.pem"),
        (("stow", "senders", 0, "token"), "secret"),
        (("node", "state"), datetime.date(2026, 1, 5)),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_the_schema_and_by_the_node(path: Path_, value: object) -> None:
    raw = changed(path, value)

    assert not VALIDATOR.is_valid(raw)
    assert not node_takes(raw)


@pytest.mark.parametrize(
    "path",
    [
        ("node",),
        ("node", "state"),
        ("receiver", "ae_title"),
        ("receiver", "tls", "key"),
        ("peers", 0, "ae_title"),
        ("peers", 1, "addresses"),
        ("destinations", 0, "kind"),
        ("destinations", 0, "host"),
        ("destinations", 1, "path"),
        ("destinations", 3, "url"),
        ("rules", 0, "pipeline"),
        ("worklist", "webhooks", 0, "url"),
        ("kernels", 0, "measured_on"),
    ],
)
def test_what_a_site_has_to_write_is_missed_by_the_schema_and_by_the_node(path: Path_) -> None:
    raw = changed(path, LEFT_OUT)

    assert not VALIDATOR.is_valid(raw)
    assert not node_takes(raw)


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    path=st.sampled_from(sorted(leaves(EXAMPLE), key=str)),
    value=st.one_of(
        st.sampled_from([LEFT_OUT, "", "x", "104", "*", [], {}, True, 0, -1, 0.5, 3, 70_000, [[]], {"not": "x"}]),
        st.floats(-1e6, 1e6).filter(lambda number: not number.is_integer()),  # to JSON 1.0 is the integer 1
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=70),
    ),
)
def test_what_the_node_takes_the_schema_takes(path: Path_, value: object) -> None:
    """So that an editor never marks what is right. The converse holds of single values, not of names that must fit."""
    raw = changed(path, value)

    assert VALIDATOR.is_valid(raw) or not node_takes(raw)


def test_an_editor_follows_the_first_line_of_the_example(tmp_path: Path) -> None:
    """Taplo is what Even Better TOML asks."""
    taplo = shutil.which("taplo", path=str(Path(sys.executable).parent)) or shutil.which("taplo")
    if taplo is None:
        pytest.skip("taplo is not installed: pip install taplo")
    for name in ("node.example.toml", "node.schema.json"):
        shutil.copy(DEPLOY / name, tmp_path)
    file = tmp_path / "node.example.toml"
    good = subprocess.run([taplo, "lint", str(file)], capture_output=True, text=True, check=False)
    file.write_text(file.read_text(encoding="utf-8").replace("\nport = 11112 ", "\nprot = 11112 "), encoding="utf-8")
    bad = subprocess.run([taplo, "lint", str(file)], capture_output=True, text=True, check=False)

    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert "'prot' was unexpected" in bad.stderr


def test_the_schema_is_small_enough_to_open_in_an_editor() -> None:
    assert len(json.dumps(SCHEMA)) < 200_000
