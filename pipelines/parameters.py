"""What a rule may choose for a pipeline, and what of it a job gets once the headers of its series are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipelines.match import Header

Asked = Mapping[str, str | float]
"""`parameters` of a rule, as the settings have them."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The parameters of one job, or why there is none.

    values:  plain JSON; all that shapes the result besides weights and input, so that a later change of the settings
             changes no job that was made before it
    reasons: why the series is not taken; facts with their values, no patient data
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class Chooser(Protocol):
    """A pipeline's own knowledge of its parameters."""

    def faults(self, asked: Asked) -> list[str]:
        """What is wrong with a rule's parameters, whatever series may come; said before the port opens."""
        ...

    def settle(self, asked: Asked, headers: Sequence[Header]) -> Settled:
        """The parameters of the job that a rule without faults makes of a set; every slice is asked."""
        ...


@dataclass(frozen=True)
class TakesNone:
    """A pipeline without parameters."""

    def faults(self, asked: Asked) -> list[str]:
        """Every key is one too many."""
        return [f"{name!r} is no parameter of it; it takes none" for name in sorted(asked)]

    def settle(self, asked: Asked, headers: Sequence[Header]) -> Settled:
        """Nothing."""
        return Settled()


NO_PARAMETERS: Final = TakesNone()
