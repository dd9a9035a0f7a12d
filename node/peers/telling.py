"""What `worklist/notices.py` asks of a way to tell somebody of a verdict. One teller for each channel."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from node.dicom.subject import Subject
from node.errors import Refuse, Retry
from pipelines.triage import Flag


class NotThere(Retry):
    """The receiver answers, but does not know the study yet."""


class NotTaken(Refuse):
    """The receiver answered that it does not take this notice. What it said is in `answer`: not for logs."""

    def __init__(self, message: str, *, answer: str = "", fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is told of one verdict, settled when it was made: every attempt and every channel says the same.

    withdrawn:  why the verdict no longer holds; empty: it holds
    score:      calibrated probability, 0 to 1; None if not analysable
    reasons:    why it is not analysable
    report_uid: SOP Instance UID of the report; empty if there is none
    told_at:    seconds since the epoch: when the verdict was made, or withdrawn
    stamp:      the same as local date and time with its offset from UTC, as HL7 has it
    """

    job_id: str
    flag: Flag
    score: float | None
    threshold: float
    reasons: tuple[str, ...]
    report_uid: str
    subject: Subject
    told_at: float
    stamp: str
    withdrawn: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal one back."""
        plain = {**asdict(self), "subject": self.subject.to_json()}
        return {**plain, "flag": self.flag.value, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Told":
        """The inverse of `to_json`."""
        settled = {
            "flag": Flag(data["flag"]),
            "reasons": tuple(data["reasons"]),
            "subject": Subject.from_json(data["subject"]),
        }
        return cls(**{**data, **settled})


class Teller(Protocol):
    """The way to one receiver. Used by one thread; keeps nothing between calls."""

    def tell(self, told: Told, *, control_id: str, before: Callable[[], None]) -> str:
        """Tell it, once, and wait for its acknowledgement.

        control_id: what a receiver knows a repetition by; at most 20 characters
        before:     called when the receiver is there, right before anything is sent; what it raises ends the attempt
        returns:    what the receiver answered
        raises:     Unreachable (nothing was sent), Broken (what became of it is not known), Busy, NotThere, NotTaken;
                    Refuse if it can never be told this way
        """
        ...

    def probe(self) -> None:
        """Ask whether somebody is there. Raises Unreachable, Broken, Busy, BadSetting."""
        ...
