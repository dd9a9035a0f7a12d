"""Labels of scanners: from the settings, or "other"."""

import pytest
from pydantic import ValidationError

from node.settings.scanners import Scanner, faults
from node.worklist.scanners import labels, scanner_of

CT1 = Scanner.model_validate({"name": "ct-1", "where": {"StationName": "CTAWP*", "Manufacturer": "SIEMENS"}})
ANY_CT = Scanner.model_validate({"name": "any-ct", "where": {"Modality": "CT"}, "alarm_rate": 0.2})
HEADER = {"Modality": ("CT",), "StationName": ("ctawp1234",), "Manufacturer": ("SIEMENS",)}


def test_the_first_scanner_that_every_slice_fits_gives_the_label() -> None:
    assert scanner_of((CT1, ANY_CT), [HEADER, HEADER]) == "ct-1"
    assert scanner_of((CT1, ANY_CT), [HEADER, {**HEADER, "StationName": ("MR1",)}]) == "any-ct"


def test_what_no_scanner_fits_is_other() -> None:
    assert scanner_of((CT1,), [{"Modality": ("CT",)}]) == "other"
    assert scanner_of((), [HEADER]) == "other"
    assert scanner_of((CT1, ANY_CT), []) == "other"


def test_labels_are_a_closed_set() -> None:
    assert labels((CT1, ANY_CT)) == ("ct-1", "any-ct", "other")


def test_every_fault_of_the_tables_is_named() -> None:
    wrong = Scanner.model_validate({"name": "other", "where": {"StationNam": "A"}})
    said = list(faults([CT1, CT1, wrong]))
    assert [line.split(";")[0] for line in said] == [
        "scanners: the name 'ct-1' is used twice",
        "scanner 'other': that is the label of all that have no table",
        "scanner 'other' asks for 'StationNam'",
    ]
    assert "did you mean StationName?" in said[-1]
    assert list(faults([CT1, ANY_CT])) == []


def test_patients_are_no_condition_of_a_scanner() -> None:
    one = Scanner.model_validate({"name": "a", "where": {"PatientID": "1*"}})
    assert any("PatientID" in line for line in one.faults())


def test_tables_beyond_the_limit_are_refused() -> None:
    many = [Scanner.model_validate({"name": f"s{i}", "where": {"Modality": "CT"}}) for i in range(65)]
    assert any("at most 64" in line for line in faults(many))


@pytest.mark.parametrize("bad", [{"where": {}}, {"alarm_rate": 0.0}, {"alarm_rate": 1.0}, {"alarm_rat": 0.1}])
def test_a_table_that_says_nothing_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Scanner.model_validate({"name": "a", "where": {"Modality": "CT"}, **bad})
