"""The scanners whose triage is measured apart, by names that the site gives."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from pydantic import Field

from node.settings.common import Name, Part
from node.settings.rules import RULE_KEYWORDS
from pipelines.match import Condition

OTHER: Final = "other"  # label of what no table describes
MOST: Final = 64  # tables: each is a label of several metrics


class Scanner(Part):
    """A scanner, or a protocol of one. The first whose every condition fits every slice gives its name as the label."""

    name: Name
    where: Annotated[dict[str, Condition], Field(min_length=1)]
    # share of studies with a flag, measured when this scanner was accepted; not set: that of its first 200 studies
    alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None

    def faults(self) -> Iterator[str]:
        """A name that is taken, and conditions on attributes that the header scan does not keep."""
        if self.name == OTHER:
            yield f"scanner {OTHER!r}: that is the label of all that have no table; choose another name"
        for keyword in self.where:
            if keyword not in RULE_KEYWORDS:
                close = difflib.get_close_matches(keyword, RULE_KEYWORDS, cutoff=0.75)
                hint = f"did you mean {', '.join(sorted(close))}?" if close else "see the conditions of rules"
                yield f"scanner {self.name!r} asks for {keyword!r}; {hint}"


def faults(scanners: Sequence[Scanner]) -> Iterator[str]:
    """What is wrong with all of them together; nothing, if they can be used."""
    names = [one.name for one in scanners]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"scanners: the name {name!r} is used twice; give each its own"
    if len(scanners) > MOST:
        yield f"scanners: {len(scanners)} tables, at most {MOST}; group them by model"
    for one in scanners:
        yield from one.faults()
