"""The conditions of rules: which header values a set must have. Every slice of the set is asked.

    Modality = "CT"                        equal, or with * and ? a wildcard; letter case does not matter
    ConvolutionKernel = ["B3*", "Br38*"]   any of these
    SliceThickness = { min = 0.5, max = 3 }  a range, both ends included; either may be missing
    ContrastBolusAgent = { present = false } the attribute is absent or empty
    ImageType = { not = "*LOCALIZER*" }    the opposite of any of the above
    ImageType = { all = ["ORIGINAL", { not = "MPR" }] }   several at once

An attribute with several values fits if any of its values does; `not` then means that none does.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Header = Mapping[str, tuple[str, ...]]
"""DICOM keyword -> its values as text; an absent attribute has no key."""


class Condition(BaseModel):
    """One attribute's condition, normalised from the short forms above."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    any_of: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None
    present: bool | None = None
    negated: Annotated["Condition | None", Field(alias="not")] = None
    all: tuple["Condition", ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return {"any_of": (_text(value),)}
        if isinstance(value, list | tuple):
            if not value or any(isinstance(v, dict | list | bool) for v in value):
                raise ValueError("a set holds at least one text or number, nothing else")
            return {"any_of": tuple(_text(v) for v in value)}
        if isinstance(value, dict) and isinstance(value.get("all"), list):
            return {**value, "all": tuple(value["all"])}  # settings are read strictly: a list is no tuple
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = [self.any_of, self.present, self.negated, self.all]
        ranged = self.min is not None or self.max is not None
        if sum(part is not None for part in said) + ranged != 1:
            raise ValueError("a condition is one of: a text, a set, {min, max}, {present}, {not}, {all}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"a range from {self.min:g} to {self.max:g} holds nothing")
        return self

    def fits(self, values: tuple[str, ...] | None) -> bool:
        """Whether one slice's values (None: the attribute is absent) fit."""
        if self.negated is not None:
            return not self.negated.fits(values)
        if self.all is not None:
            return all(part.fits(values) for part in self.all)
        if self.present is not None:
            return bool(values) is self.present
        if self.any_of is not None:
            return any(fnmatch.fnmatchcase(v.casefold(), p.casefold()) for v in values or () for p in self.any_of)
        low, high = self.min, self.max
        numbers = [n for v in values or () if (n := number(v)) is not None]
        return any((low is None or n >= low) and (high is None or n <= high) for n in numbers)

    def __str__(self) -> str:
        if self.negated is not None:
            return f"not ({self.negated})"
        if self.all is not None:
            return " and ".join(map(str, self.all))
        if self.present is not None:
            return "present" if self.present else "absent or empty"
        if self.any_of is not None:
            return " or ".join(f"'{p}'" for p in self.any_of)
        return f"from {'-∞' if self.min is None else f'{self.min:g}'} to {'∞' if self.max is None else f'{self.max:g}'}"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def number(text: str) -> float | None:
    """A DS or IS value as a number; None if it is not a finite one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None


def misfits(where: Mapping[str, Condition], headers: Sequence[Header]) -> list[str]:
    """Why a set does not fit: one line for each condition that some slice breaks; empty if all fit.

    The values themselves are quoted only for attributes that hold no patient data, which is every attribute of the
    header scan; they are cut at 64 characters and escaped.
    """
    lines = []
    for keyword, condition in where.items():
        broken = [header.get(keyword) for header in headers if not condition.fits(header.get(keyword))]
        if broken:
            shown = sorted({_shown(values) for values in broken})
            more = f" and {len(shown) - 3} more values" if len(shown) > 3 else ""
            where_broken = f"in {len(broken)} of {len(headers)} slices"
            lines.append(f"{keyword} is {', '.join(shown[:3])}{more} {where_broken}; wanted {condition}")
    return lines


def _shown(values: tuple[str, ...] | None) -> str:
    if values is None:
        return "absent"
    if not values:
        return "empty"
    text = "\\".join(values)
    return ascii(text if len(text) <= 64 else text[:61] + "...")
