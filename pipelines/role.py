"""What a pipeline of several series says of each, beside what it takes: how it is judged and brought to the grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.match import Header


class Judge(Protocol):
    """What a role's own knowledge says against a series; called with the headers of all its slices."""

    def __call__(self, headers: Sequence[Header]) -> list[str]:
        """Facts with their values, without patient data; empty if nothing speaks against it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of a study. headers: of its slices, in any order."""

    uid: str
    headers: Sequence[Header]


class Together(Protocol):
    """What speaks against making something of these series of a study.

    chosen: role -> its series
    study:  all series of the study that are here, these among them
    """

    def __call__(self, chosen: Mapping[str, Series], study: Sequence[Series]) -> list[str]:
        """Facts with their values, without patient data; empty if nothing speaks against it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A series is brought to the grid by a rigid motion, and what is believed of that motion.

    shift_mm, rotation_deg:         largest where both series name one frame of reference: a patient moved on the table
    far_shift_mm, far_rotation_deg: largest where they do not: a patient was laid down again
    quality:                        least agreement of edges, as `pipelines.steps.register` states it
    cover:                          least share of the head that the series reaches
    """

    shift_mm: float = 20.0
    rotation_deg: float = 15.0
    far_shift_mm: float = 120.0
    far_rotation_deg: float = 30.0
    quality: float = 0.35
    cover: float = 0.8
