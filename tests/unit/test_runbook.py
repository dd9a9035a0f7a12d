"""The run book against the node: every alert, reason and error has its section, and what it says to type exists."""

import ast
import fnmatch
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from node import settings
from node.__main__ import app
from node.records.states import StopCause
from pipelines.head_ct_triage_guards import LIMITS
from tests.guard_names import guard_names

ROOT = Path(__file__).parents[2]
BOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8")
PARAGRAPHS = ["For patients.", "Look.", "Do.", "Stop the pipeline?"]
TABLES: dict[str, Any] = {
    "node": settings.Node, "receiver": settings.Receiver, "assemble": settings.Assemble, "page": settings.Page,
    "decoder": settings.Decoder, "engines": settings.Engines,
}  # fmt: skip


def part(name: str) -> str:
    """The text below a heading of the first level."""
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", BOOK, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the run book has no part {name}"
    return found[1]


def sections(name: str, level: str) -> dict[str, str]:
    """Heading -> text, of a part."""
    words = re.split(rf"^{level} (.+)\n", part(name), flags=re.MULTILINE)
    assert len(words[1::2]) == len(set(words[1::2])), "a section stands twice"
    return dict(zip(words[1::2], words[2::2], strict=True))


def names(part_name: str) -> list[str]:
    """What the sections of a part are about; a heading may name several."""
    return [name for heading in sections(part_name, "###") for name in heading.split(", ")]


def every_section() -> dict[str, str]:
    parts = ("Why a job was stopped", "What a check found", "Errors")
    return {
        **sections("Alerts", "##"),
        **{heading: text for name in parts for heading, text in sections(name, "###").items()},
    }


def shown_commands(text: str = BOOK) -> list[str]:
    """Every command line of `imaging-node` in a fence or in a code span."""
    fenced = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [line.strip() for line in fenced] + re.findall(r"`([^`\n]+)`", plain)
    return [line for line in lines if line.split(" ")[0] == "imaging-node" and " " in line]


def parse(line: str) -> None:
    """As the command line would, without running it. Raises what Typer raises."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("imaging-node", [], resilient_parsing=True)
    words = [word for word in shlex.split(line)[1:] if word != "--help"]
    while hasattr(group, "commands"):
        name, group, words = group.resolve_command(context, words)
        assert group is not None, f"no such command: {name}"
    if "--help" not in line:
        group.make_context(name, words)


def anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", BOOK, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@functools.cache
def raised_classes() -> set[str]:
    """Every public class that is, by one way or another, a NodeError, an EngineError or an Unfit."""
    bases: dict[str, set[str]] = {}
    for pattern in ("node/**/*.py", "engines/*.py", "pipelines/**/*.py"):
        for path in ROOT.glob(pattern):
            for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(one, ast.ClassDef):
                    bases.setdefault(one.name, set()).update(_base(base) for base in one.bases)
    found = {"NodeError", "EngineError", "Unfit"}
    while more := {name for name, known in bases.items() if known & found} - found:
        found |= more
    return {name for name in found if not name.startswith("_")}


def _base(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def test_every_alert_has_its_section_and_no_section_is_without_its_alert() -> None:
    assert list(sections("Alerts", "##")) != []
    assert set(sections("Alerts", "##")) == set(re.findall(r"^\s+- alert: (\w+)", ALERTS, re.MULTILINE))


def test_every_reason_for_which_a_job_is_stopped_has_its_section() -> None:
    assert sorted(names("Why a job was stopped")) == sorted(StopCause)


def test_every_name_of_a_check_has_its_section() -> None:
    known, told = guard_names() | {"analysable"} | LIMITS.known.keys(), names("What a check found")

    assert len(told) == len(set(told))
    assert [name for name in known if not any(_alike(name, one) for one in told)] == []
    assert [one for one in told if not any(_alike(name, one) for name in known)] == []


def _alike(name: str, told: str) -> bool:
    return name == told or fnmatch.fnmatchcase(name, told)


def test_every_error_class_has_its_section() -> None:
    assert len(raised_classes()) > 25
    assert sorted(names("Errors")) == sorted(raised_classes())


@pytest.mark.parametrize("heading", every_section())
def test_a_section_has_its_four_paragraphs(heading: str) -> None:
    text = every_section()[heading]
    said = re.findall(r"^\*\*(For patients\.|Look\.|Do\.|Stop the pipeline\?)\*\*\s*(\S)", text, re.MULTILINE)

    assert [label for label, first in said if first != "*"] == PARAGRAPHS
    if heading.startswith("ImagingNode"):
        assert "```sh" in text, "nothing can be copied"


@pytest.mark.parametrize("line", sorted({*shown_commands()}))
def test_a_command_of_the_run_book_exists_with_its_options(line: str) -> None:
    parse(line)


def test_every_command_of_the_run_book_is_looked_at() -> None:
    assert len(set(shown_commands())) > 25
    assert shown_commands("`imaging-node jobs`\n```sh\nimaging-node top\n  imaging-node check\n```") == [
        "imaging-node top", "imaging-node check", "imaging-node jobs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line", ["imaging-node jbos", "imaging-node jobs --limt 3", "imaging-node show", "imaging-node jobs --limit x"]
)
def test_what_does_not_exist_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|a valid"):
        parse(line)


def test_every_link_leads_to_a_section() -> None:
    asked = {*re.findall(r"\]\(#([^)]+)\)", BOOK), *re.findall(r"runbook_url: RUNBOOK\.md#(\S+)", ALERTS)}

    assert len(asked) > 40
    assert asked - anchors() == set()
    assert len(re.findall(r"runbook_url", ALERTS)) == len(re.findall(r"- alert:", ALERTS))


def test_every_metric_and_setting_that_is_named_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    metrics = set(re.findall(r"imaging_node_(\w+)", BOOK))
    named = set(re.findall(rf"\b({'|'.join(TABLES)})\.([a-z_]+)\b", BOOK))

    assert metrics
    assert [name for name in metrics if f"`{name}`" not in readme] == []
    assert [f"{table}.{key}" for table, key in named if key not in {*TABLES[table].model_fields, "toml", "pem"}] == []


def test_files_that_it_names_are_there() -> None:
    assert [name for name in _files() if not (ROOT / name).is_file()] == []


def _files() -> Iterator[str]:
    yield from re.findall(r"\b((?:deploy|tests)/[\w./-]+\.\w+)", BOOK)


def test_it_is_the_page_of_nobody_in_particular() -> None:
    """No path of a machine where it was written, and no patient."""
    assert re.findall(r"/(?:work|home|root|tmp)/", BOOK) == []
