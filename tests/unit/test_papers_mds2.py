"""The answers on security: every group is there, and what an answer points to exists."""

import ast
import re
from pathlib import Path

import pytest
import typer

from node.__main__ import app as command_line
from node.papers.connections import connections
from node.papers.mds2 import Group, Says, document, groups
from node.settings import Settings, load, parse
from tests.running_node import settings_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "node.example.toml"
# ANSI/NEMA HN 1-2019 (RELIABILITY, section 4).
GROUPS = (
    "MPII ALOF AUDT AUTH CNFS CSUP DIDT DTBK EMRG IGAU MLDP NAUT PAUT CONN PLOK RDMP SBOM SAHD SGUD STCF TXCF TXIG RMOT"
)


def answers(settings: Settings) -> list[Group]:
    return groups(settings, connections(settings))


def missing(pointer: str) -> bool:
    """Whether `path::name` names no test function of the repository."""
    path, _, name = pointer.partition("::")
    file = ROOT / path
    if not (path.startswith("tests/") and file.is_file()):
        return True
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture(scope="module")
def found() -> list[Group]:
    return answers(load(EXAMPLE))


def test_every_group_is_there_once_and_answers_something(found: list[Group]) -> None:
    assert sorted(group.code for group in found) == sorted(GROUPS.split())
    assert len(GROUPS.split()) == 23
    assert all(group.answers for group in found)


def test_every_test_that_an_answer_points_to_exists(found: list[Group]) -> None:
    pointers = {pointer for group in found for answer in group.answers for pointer in answer.tests}

    assert len(pointers) > 50
    assert sorted(filter(missing, pointers)) == []
    assert missing("tests/unit/test_papers_mds2.py::test_that_nobody_wrote")
    assert missing("tests/unit/test_nowhere.py::test_it")


def test_every_setting_file_and_command_that_an_answer_points_to_exists(found: list[Group]) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    group = typer.main.get_command(command_line)
    wrong = []
    for pointer in {pointer for one in found for answer in one.answers for pointer in answer.settings}:
        if pointer.startswith("imaging-node "):
            known = pointer.split()[1] in group.commands  # type: ignore[attr-defined]
        elif pointer.startswith("deploy/"):
            file, *options = pointer.split()
            known = all(option in (ROOT / file).read_text(encoding="utf-8") for option in options)
        else:
            key = pointer.rpartition(".")[2]
            known = re.search(rf"\b{key}\b\"? ?(=|\])|\[{re.escape(pointer)}\]", example) is not None
        if not known:
            wrong.append(pointer)

    assert wrong == []


def test_a_yes_about_what_it_does_has_a_test(found: list[Group]) -> None:
    """What nobody can run needs words of its own: identity, guidance and the like are answered by documents."""
    bare = [
        f"{group.code}: {one.question}"
        for group in found
        for one in group.answers
        if one.says is Says.YES and not one.tests
    ]

    assert bare == ["MPII: Does it display, store, send or process personally identifiable information?"]


def test_the_answers_follow_the_configuration(tmp_path: Path) -> None:
    raw = settings_for(tmp_path)
    local = parse(raw, source="the test")
    raw["destinations"] = [{"kind": "dicom", "name": "far", "ae_title": "FAR", "host": "203.0.113.1", "port": 104}]
    raw["rules"] = [{"name": "ct", "pipeline": "ct-denoise", "destinations": ["far"]}]
    far = parse(raw, source="the test")

    def says(settings: Settings, code: str, question: int) -> tuple[Says, str]:
        group = next(one for one in answers(settings) if one.code == code)
        return group.answers[question].says, group.answers[question].note

    assert says(local, "TXCF", 1)[0] is Says.YES
    assert says(far, "TXCF", 1) == (
        Says.NOTE,
        "Not encrypted between machines, with data of patients: `destinations.far`.",
    )
    assert says(local, "NAUT", 0)[0] is Says.YES
    assert says(far, "NAUT", 0)[0] is Says.NOTE
    assert str(local.node.state) in document(local, connections(local), version="1")
