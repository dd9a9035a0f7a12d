"""The statement names every object and every code of a triage."""

import dataclasses
from pathlib import Path

import pytest

from node.commands.conformance import conformance
from node.conformance import triage
from node.dicom import triage_codes
from node.dicom.codes import Code

EXAMPLE = Path(__file__).parents[2] / "deploy" / "node.example.toml"


@pytest.fixture(scope="module")
def statement() -> str:
    return conformance(EXAMPLE)


def codes_of_the_module() -> set[Code]:
    """All that `triage_codes` holds."""
    found: set[Code] = set()
    for value in vars(triage_codes).values():
        if isinstance(value, Code):
            found.add(value)
        elif isinstance(value, dict):
            found.update(one for one in value.values() if isinstance(one, Code))
    return found


def test_every_code_of_a_triage_is_stated(statement: str) -> None:
    wanted = codes_of_the_module()

    assert {"ANOM_TRIAGE", "ANOM_SCORE", "TRIAGE_FLAG", "FLAG_RAISED", "FLAG_NOT_RAISED", "NOT_ANALYSABLE"} <= {
        code.value for code in wanted
    }
    assert [code.value for code in wanted if code.value not in statement or code.meaning not in statement] == []


def test_every_form_is_stated_with_class_number_and_words(statement: str) -> None:
    for form in triage_codes.FORMS.values():
        assert form.sop_class_name in statement
        assert f"1000 x source + {form.series_code}" in statement
        assert f"`{form.marker}`" in statement
        assert len(form.marker) <= 64
        assert form.marker.startswith("AI ")
    assert triage_codes.CAPTION in statement
    assert triage_codes.KEYS_DESCRIPTION in statement


def test_a_code_that_nobody_stated_would_be_missed(statement: str) -> None:
    other = dataclasses.replace(triage_codes.ANOM_SCORE, value="ANOM_SCORE_2")
    assert other.value not in statement
    assert len({row[:2] for row in triage.coded()}) == len(list(triage.coded()))
