"""Head-CT triage by headers alone: which series it is for at all, and which of those it must not judge."""

import pytest

from pipelines.head_ct_triage import candidate, protocol
from pipelines.report import Verdict
from tests.painted_head import header


def test_an_unknown_age_is_a_caution_not_a_reason() -> None:
    told = header()
    del told["PatientAgeGroup"]

    assert protocol([told]).verdict is Verdict.CAUTION
    assert protocol([header()]).verdict is Verdict.PASS
    assert protocol([]).verdict is Verdict.CAUTION


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], "no slice"),
        ([header(Modality=("MR",))] * 30, "not a CT"),
        ([header(ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER"))] * 30, "localizer"),
        ([header()] * 3, "3 slice"),
        ([header(BodyPartExamined=("CHEST",))] * 30, "another part"),
        ([header(ImageOrientationPatient=("1", "0", "0", "0", "0", "-1"))] * 30, "not axial"),
    ],
)
def test_what_nobody_would_read_as_a_head_is_no_candidate(headers: list[dict[str, tuple[str, ...]]], why: str) -> None:
    assert why in " ".join(candidate(headers))


@pytest.mark.parametrize(
    "more", [{}, {"BodyPartExamined": ()}, {"BodyPartExamined": ("BRAIN",)}, {"ImageOrientationPatient": ()}]
)
def test_a_head_ct_is_a_candidate_whatever_else_is_wrong_with_it(more: dict[str, tuple[str, ...]]) -> None:
    assert candidate([header(**more, PatientAgeGroup=("CHILD",))] * 30) == []
