"""Every real and every odd file fares in a running node as MATRIX.md says; nothing crashes, nothing hangs."""

import time
from pathlib import Path

import pytest

from tests.acceptance import matrix

LONGEST_S = 300.0  # a quiet machine of two cores needs a fifth of it


@pytest.fixture(scope="module")
def found(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[matrix.Row]:
    began = time.monotonic()
    rows = matrix.rows(shared_data, tmp_path_factory.mktemp("matrix"))
    assert time.monotonic() - began < LONGEST_S
    return rows


def test_every_object_fares_as_the_table_says(found: list[matrix.Row]) -> None:
    expected = matrix.TABLE.read_text(encoding="utf-8").splitlines()

    assert matrix.table(found).splitlines() == expected


def test_every_file_of_the_data_has_its_line(shared_data: Path) -> None:
    groups = matrix.groups(shared_data)
    files = [path for folder in ("dicom", "odd") for path in (shared_data / folder).rglob("*") if path.is_file()]

    assert sorted(path for group in groups.values() for path in group) == sorted(files)
    table = matrix.TABLE.read_text(encoding="utf-8")
    assert [name for name in groups if f"| {name} | " not in table] == []


def test_the_table_knows_every_outcome() -> None:
    """A table in which nothing is processed, divided or refused would be met by a node that does nothing."""
    table = matrix.TABLE.read_text(encoding="utf-8")

    for words in (
        "| processed |",
        "EchoTime=2.3: ",
        "refused: LOCALIZER",
        "stored only: ",
        "not accepted: ",
        "| C000 |",
    ):
        assert words in table
    assert "DIFFERENT" not in table
    assert "no outcome" not in table


def test_a_row_with_another_outcome_is_another_table() -> None:
    row = matrix.Row(name="a", answer="0000", outcome=("processed",), pixels="1 x 2 x 3")
    other = matrix.Row(name="a", answer="0000", outcome=("refused: x",), pixels="1 x 2 x 3")

    assert matrix.table([row]) != matrix.table([other])
