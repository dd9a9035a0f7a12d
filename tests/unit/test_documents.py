"""What the documents say and the code does not know, or the other way round."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from engines.store import load_spec
from node import settings
from node.__main__ import app as command_line
from node.metrics import METRICS
from pipelines import SHIPPED
from tests.dashboards import metrics_of_the_node

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "deploy" / "node.example.toml"
LARGEST_PICTURE = 400_000  # bytes; a README has to open fast

# Table of the settings file -> its model. A table that can be one of several kinds stands here with each.
TABLES: list[tuple[str, type[BaseModel]]] = [
    ("node", settings.Node),
    ("receiver", settings.Receiver),
    ("peers", settings.Peer),
    ("assemble", settings.Assemble),
    ("destinations", settings.DicomDestination),
    ("destinations", settings.FolderDestination),
    ("destinations", settings.DicomwebDestination),
    ("destinations", settings.OrthancDestination),
    ("rules", settings.Rule),
    ("kernels", settings.KernelCurve),
    ("engines", settings.Engines),
    ("decoder", settings.Decoder),
    ("page", settings.Page),
    ("stow", settings.Stow),
    ("sources", settings.OrthancSource),
    ("worklist", settings.Worklist),
    ("worklist.scanners", settings.Scanner),
    ("worklist.ups", settings.Ups),
    ("worklist.hl7", settings.Hl7Channel),
    ("worklist.webhooks", settings.Webhook),
    ("worklist.labels", settings.Label),
]


def example_tables() -> dict[str, str]:
    """Text of each table of the example, with its comments; tables of one name joined, `rules.where` part of rules.

    A table inside of another one that stands in TABLES has its own text, too.
    """
    tables: dict[str, str] = {}
    parts = re.split(r"^\[+([\w.]+)\]+\n", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        first, _, rest = name.partition(".")
        tables[first] = tables.get(first, "") + (f"{rest} = ...\n" if rest else "") + text
        if rest:
            tables[name] = tables.get(name, "") + text
    return tables


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(command_line)
    return dict(group.commands)


def options(words: str) -> set[str]:
    """Every option of the command that a line of the README begins with, one of a group included."""
    first, _, rest = words.partition(" ")
    command = commands()[first]
    if hasattr(command, "commands"):
        command = command.commands[rest.split(" ")[0]]
    return {option for parameter in command.params for option in parameter.opts}


def shown_commands() -> Iterator[tuple[str, str]]:
    """Every `imaging-node ...` of the README: (command, the rest of the line or of the code span)."""
    for text in re.findall(r"imaging-node ([^`\n]*)", README):
        command, _, rest = text.partition(" ")
        if re.fullmatch(r"[a-z]+(?:-[a-z]+)*", command):
            yield command, rest


def test_example_settings_load() -> None:
    assert settings.load(EXAMPLE).rules


@pytest.mark.parametrize(("table", "model"), TABLES, ids=[model.__name__ for _, model in TABLES])
def test_example_names_every_setting(table: str, model: type[BaseModel]) -> None:
    text = example_tables()[table]

    assert [key for key in model.model_fields if not re.search(rf"^(# )?{key} = ", text, re.MULTILINE)] == []


def test_every_table_of_the_settings_is_looked_at() -> None:
    assert {table for table, _ in TABLES if "." not in table} == set(settings.Settings.model_fields)


@pytest.mark.parametrize(("table", "model"), TABLES, ids=[model.__name__ for _, model in TABLES])
def test_example_gives_the_defaults(table: str, model: type[BaseModel]) -> None:
    found = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    for name in table.split("."):
        found = found[name]
    inner = {name.removeprefix(f"{table}.") for name, _ in TABLES}
    defaults = {
        key: list(field.default) if isinstance(field.default, tuple) else field.default
        for key, field in model.model_fields.items()
        if not field.is_required() and field.default not in (None, {}) and key not in inner
    }
    kinds = model.model_fields.get("kind")
    given = found if isinstance(found, list) else [found]
    given = [one for one in given if kinds is None or one["kind"] in kinds.annotation.__args__]

    assert given
    assert [{key: one[key] for key in defaults} for one in given] == [defaults] * len(given)


def test_commands_of_the_readme_exist() -> None:
    known = commands()
    named = {command for command, _ in shown_commands()}

    assert named - known.keys() == set()
    assert known.keys() - named == set(), "a command that the README does not know"


def test_options_of_the_readme_exist() -> None:
    wrong = []
    for line in README.splitlines():
        for command in re.findall(r"imaging-node ([a-z]+(?:-[a-z]+)*(?: [a-z-]+)?)", line):
            known = options(command)
            given = re.findall(r"(?<![\w-])--?[a-z]+(?:-[a-z]+)*", line)
            wrong += [f"{command} {option}" for option in given if option not in known]

    assert wrong == []


def test_every_command_of_a_group_is_in_the_readme() -> None:
    groups = {name: list(group.commands) for name, group in commands().items() if hasattr(group, "commands")}
    wanted = {f"{name} {command}" for name, some in groups.items() for command in some}

    assert "engines verify" in wanted
    assert sorted(one for one in wanted if f"`imaging-node {one}" not in README) == []


def test_every_metric_is_in_the_readme(tmp_path: Path) -> None:
    full = list(metrics_of_the_node(tmp_path))
    assert [name for name in full if not name.startswith("imaging_node_")] == []
    names = [name.removeprefix("imaging_node_") for name in full]

    assert [name for name in names if f"`{name}`" not in README] == []
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [\w, ]*\| ", README.split("## Metrics")[1], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - set(names) == set()


def test_labels_of_the_readme_are_those_of_the_metrics() -> None:
    labels = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]*?) ?\| ", README.split("## Metrics")[1], re.MULTILINE))
    for metric in vars(METRICS).values():
        (family,) = metric.describe()
        name = family.name.removeprefix("imaging_node_") + ("_total" if family.type == "counter" else "")
        assert labels[name] == ", ".join(metric._labelnames), name


def test_every_decision_is_linked() -> None:
    decisions = sorted((ROOT / "deploy" / "decisions").glob("*.md"))

    assert decisions
    assert [path.name for path in decisions if f"(deploy/decisions/{path.name})" not in README] == []


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "tests/bench/RESULTS.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if "://" not in link and not (path.parent / link).is_file()] == []


def test_files_that_documents_name_are_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "deploy" / "decisions").glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"`((?:node|pipelines|engines|deploy|tests)/[\w./-]+\.\w+)`", page.read_text())
    }

    assert named
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_pictures_are_small_enough_to_open_at_once() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "deploy" / "picture").iterdir()}

    assert "before-after.png" in sizes
    assert sum(sizes.values()) < LARGEST_PICTURE


def test_changelog_names_the_pipelines_and_networks_that_ship() -> None:
    """What reads images must find there which version made them."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    shipped = [f"{pipeline.name} {pipeline.version}" for pipeline in SHIPPED.values()]
    shipped += [f"{spec.name} {spec.version}" for spec in (load_spec(p.engine) for p in SHIPPED.values())]

    assert [name for name in shipped if f"**{name}**" not in changelog] == []


def test_label_of_the_demonstration_weights_stands_in_the_readme() -> None:
    text = " ".join(README.replace("\n>", "\n").split())

    assert (
        "DEMONSTRATION WEIGHTS. Trained on physics-based simulation and a small number of public images. "
        "Not clinically validated, not a medical device, not for diagnosis or for replacing an acquisition. "
        "Original images must be read."
    ) in text


def test_the_readme_says_of_every_pipeline_how_many_lines_its_card_has_met() -> None:
    for name, pipeline in SHIPPED.items():
        lines = json.loads((ROOT / f"engines/cards/{pipeline.engine}.json").read_text(encoding="utf-8"))["acceptance"]
        met = sum(line["passed"] for line in lines)
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"[{met} of {len(lines)}](engines/cards/{pipeline.engine}.md)" in row
