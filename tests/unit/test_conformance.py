"""The conformance statement says what the code does, for the configuration at hand."""

import re
from pathlib import Path

import pytest
from pynetdicom import AE

from node.commands.conformance import conformance
from node.conformance import ups as ups_statement
from node.conformance.document import Section, table
from node.conformance.services import EVIDENCE, MEANINGS
from node.dicom import codes
from node.dicom.classes import STORED_CLASSES, TRANSFER_SYNTAXES
from node.intake.incoming import Status
from node.peers.dimse import commitment, ups
from node.peers.dimse import evidence as dimse_evidence
from node.worklist.ups_status import Status as UpsStatus
from tests.running_node import AE_TITLE, RunningNode, settings_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "node.example.toml"
PRINTED = ROOT / "deploy" / "CONFORMANCE.md"


@pytest.fixture(scope="module")
def statement() -> str:
    return conformance(EXAMPLE)


def test_the_printed_statement_is_that_of_the_example(statement: str) -> None:
    assert PRINTED.read_text(encoding="utf-8") == statement, (
        "run: imaging-node conformance -c deploy/node.example.toml > deploy/CONFORMANCE.md"
    )


def test_every_part_of_annex_n_is_there_in_its_order(statement: str) -> None:
    headings = re.findall(r"^## (N\.\d|[A-F]) ", statement, re.MULTILINE)

    assert headings == [*(f"N.{n}" for n in range(1, 9)), *"ABCDEF"]


def test_every_class_syntax_status_and_code_is_named(statement: str) -> None:
    services = [context.abstract_syntax for context in (*commitment.CONTEXTS, *dimse_evidence.CONTEXTS, *ups.CONTEXTS)]
    derivations = [row.derivation.value for row in codes.OUTPUTS.values()]
    types = [row.image_type[3] for row in codes.OUTPUTS.values()]
    wanted = [*STORED_CLASSES, *TRANSFER_SYNTAXES, *services, *derivations, *types, codes.PRIVATE_CREATOR]

    assert [name for name in wanted if name not in statement] == []
    assert set(MEANINGS) == set(Status)
    assert set(EVIDENCE) == set(dimse_evidence.Status)
    assert set(ups_statement.STATUSES) == set(UpsStatus)


def test_a_setting_changes_the_statement(statement: str, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace('ae_title = "IMAGING-NODE" ', 'ae_title = "OTHER-NODE" ')
    other = tmp_path / "other.toml"
    other.write_text(text, encoding="utf-8")

    assert "title `OTHER-NODE`" in conformance(other)
    assert conformance(other) != statement


def test_the_statement_names_no_absolute_path_of_a_machine_beyond_the_settings(statement: str) -> None:
    given = EXAMPLE.read_text(encoding="utf-8")

    assert [path for path in re.findall(r"(?<![\w`.])/(?:[\w.-]+/)+[\w.-]+", statement) if path not in given] == []


def test_what_is_stated_is_what_a_listener_negotiates(statement: str, tmp_path: Path) -> None:
    stated = re.findall(
        r"^\| [^|]+ \| `([\d.]+)` \| (?:all of|Implicit|Explicit)[^|]*\| (SCU|SCP)", statement, re.MULTILINE
    )
    assert len(stated) == len(STORED_CLASSES) + 9  # verification, commitment, MPPS, IAN, five of UPS
    ae = AE(ae_title="OTHER")
    for uid, _ in stated:
        ae.add_requested_context(uid)
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.88.11")  # Basic Text SR: not stated
    with RunningNode(tmp_path, settings_for(tmp_path)) as node:
        association = ae.associate("127.0.0.1", node.port, ae_title=AE_TITLE)
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        association.release()

    assert accepted == {uid for uid, _ in stated}


def test_tables_cannot_be_broken_by_what_stands_in_them() -> None:
    assert table(("A",), [("a|b\nc",)]).splitlines()[-1] == r"| a\|b c |"


def test_sections_are_numbered_by_their_place() -> None:
    lines = list(Section(number="N.9", title="Nine", parts=(Section(title="One"), Section(title="Two"))).lines())

    assert [line for line in lines if line] == ["## N.9 Nine", "### N.9.1 One", "### N.9.2 Two"]
