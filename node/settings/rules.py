"""Which series go through which pipeline."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from node.dicom.scan import KEYWORDS
from node.settings.common import Name, Part, Seconds
from pipelines.match import Condition

_OF_A_PATIENT = {"PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientAge"}
RULE_KEYWORDS = KEYWORDS - _OF_A_PATIENT | {"CallingAETitle"}


class Missing(StrEnum):
    """What happens when a series of a study never comes."""

    HOLD = "hold"  # nothing is made; a person looks
    PROCEED = "proceed"  # without it, where the pipeline can do without that role
    DROP = "drop"  # nothing is made, and nobody need look


class RoleOfRule(Part):
    """Which series of a study has one of the roles that a pipeline takes; beside what the pipeline itself asks for."""

    where: dict[str, Condition] = Field(
        default={}, description="Conditions that tell which series has this role, as those of a rule"
    )
    prefer: Annotated[
        Literal["newest", "oldest"] | None,
        Field(description="Which of several series that fit, by time of acquisition; not set: a person looks"),
    ] = None


class Rule(Part):
    """Which sets go to which pipeline. Every slice of the set must fit every condition."""

    name: Name
    pipeline: str
    destinations: Annotated[tuple[Name, ...], Field(min_length=1)]
    parameters: dict[str, str | float] = Field(
        default={}
    )  # what the pipeline lets a rule choose; the pipeline checks them
    map: bool = False  # beside the images: the map that the pipeline makes of them, as a Parametric Map
    where: dict[str, Condition] = Field(default={})
    roles: dict[Name, RoleOfRule] = Field(default={})  # for pipelines that take several series of a study
    wait_s: Seconds = 900.0  # for the others, after the last image of the study
    missing: Missing = Missing.HOLD  # when one never comes

    def faults(self) -> Iterator[str]:
        """Conditions on attributes that the header scan does not keep."""
        for where in (self.where, *(role.where for role in self.roles.values())):
            yield from self._unknown(where)

    def _unknown(self, where: Mapping[str, Condition]) -> Iterator[str]:
        for keyword in where:
            if keyword not in RULE_KEYWORDS:
                close = difflib.get_close_matches(keyword, RULE_KEYWORDS, cutoff=0.75)
                hint = f"did you mean {_list(close)}?" if close else f"known are {_list(RULE_KEYWORDS)}"
                yield f"rule {self.name!r} asks for {keyword!r}; {hint}"

    def role(self, name: str) -> RoleOfRule:
        """What the rule says of a role; nothing, if it does not name it."""
        return self.roles.get(name, RoleOfRule())


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
