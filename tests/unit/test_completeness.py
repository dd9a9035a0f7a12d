"""Completeness of objects that hold a whole stack: frames, and parts of a concatenation (PS3.3 C.7.6.16.2.2.4)."""

import pytest

from node.completeness import Complete, contiguous


def enhanced(number: int, **values: str) -> dict[str, tuple[str, ...]]:
    given = {"NumberOfFrames": str(number), **values}
    return {"SOPClassUID": ("1.2.840.10008.5.1.4.1.1.2.1",)} | {k: (v,) for k, v in given.items() if v}


PART = {"ConcatenationUID": "1.2.8", "InConcatenationTotalNumber": "2"}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([enhanced(60)], "associations released, 1 object(s) with 60 frames"),
        ([enhanced(60), enhanced(40)], "associations released, 2 object(s) with 100 frames"),
        ([enhanced(30, **PART), enhanced(30, **PART)], "associations released, 2 object(s) with 60 frames"),
        ([enhanced(30, **PART)], "1 of 2 parts of a concatenation are here"),
        ([enhanced(30, ConcatenationUID="1.2.8")], "1 part(s) of a concatenation are here, which does not say"),
        ([enhanced(0)], "does not say how many frames"),
    ],
)
def test_an_enhanced_object_is_whole_by_itself_unless_it_is_part_of_a_concatenation(
    headers: list[dict[str, tuple[str, ...]]], found: str
) -> None:
    verdict = contiguous(headers)

    assert found in (verdict.evidence if isinstance(verdict, Complete) else verdict.reason)
