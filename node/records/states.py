"""The closed sets of states that the records know."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Ending(StrEnum):
    """How an association ended."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"  # the receiver process died


class SetState(StrEnum):
    """A set is complete and never changes its members."""

    FROZEN = "frozen"
    ROUTED = "routed"
    UNMATCHED = "unmatched"
    FAILED = "failed"  # routing itself broke


class GatheringState(StrEnum):
    """The series of a study for a rule whose pipeline takes several."""

    WAITING = "waiting"  # for a series that is missing
    READY = "ready"  # its job is recorded, not yet started
    MADE = "made"  # its job was started
    HELD = "held"  # a person looks: one never came, or two have the same role
    REFUSED = "refused"  # the series name different patients
    DROPPED = "dropped"  # one never came, and the rule says that nobody need look


class JobState(StrEnum):
    """One pipeline on one set."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    HELD = "held"  # a person looks
    PAUSED = "paused"  # a person paused its pipeline; it goes on when that is resumed
    RELEASED = "released"  # a person let it pass; it is made again and leaves with a caution
    DISCARDED = "discarded"  # a person decided that it is not to leave
    REFUSED = "refused"  # will never pass
    FAILED = "failed"  # a fault of the node; replay after it is mended
    DEAD = "dead"  # made, but a destination would not take it in days


class StopCause(StrEnum):
    """Why a job was stopped, beside the names of the checks that hold one."""

    NO_CHECK = "no_check"  # nothing judged it
    WORKER_DIED = "worker_died"
    ENGINE_OFF = "engine_off"
    NOT_REGISTERED = "not_registered"
    PAUSED = "paused"
    INPUT_REFUSED = "input_refused"
    RETRIES_EXHAUSTED = "retries_exhausted"
    FAULT = "fault"
    # Dead letters:
    REJECTED = "rejected"  # the destination will not take it
    TOO_LATE = "too_late"  # the destination did not take it within its retry_hours
    WITHHELD = "withheld"  # the destination does not say that it takes synthetic images
    UNPROVEN = "unproven"  # the destination does not vouch for what it took
    NO_DESTINATION = "no_destination"  # the settings no longer name it
    IN_DOUBT = "in_doubt"  # after a restore: the destination may have it and cannot be asked
    UNKNOWN = "unknown"  # of a version that did not note it


STOPS: Mapping[JobState, tuple[StopCause, ...]] = MappingProxyType(
    {
        JobState.HELD: (StopCause.NO_CHECK, StopCause.WORKER_DIED, StopCause.ENGINE_OFF, StopCause.NOT_REGISTERED),
        JobState.PAUSED: (StopCause.PAUSED,),
        JobState.REFUSED: (StopCause.INPUT_REFUSED,),
        JobState.FAILED: (StopCause.RETRIES_EXHAUSTED, StopCause.FAULT),
        JobState.DEAD: (
            StopCause.REJECTED,
            StopCause.TOO_LATE,
            StopCause.WITHHELD,
            StopCause.UNPROVEN,
            StopCause.NO_DESTINATION,
            StopCause.IN_DOUBT,
        ),
    }
)
"""What stops a job with which state, beside the checks that hold one."""


class DispatchState(StrEnum):
    """One job on its way to one destination."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryState(StrEnum):
    """One instance on its way to one destination."""

    PENDING = "pending"
    SENT = "sent"  # on the wire, no answer known
    DOUBTED = "doubted"  # after a restore: may have arrived; where nobody can be asked a person decides
    CONFIRMED = "confirmed"
    PROVEN = "proven"  # the destination vouched for it, where that is asked for
    FAILED = "failed"


ARRIVED = (DeliveryState.CONFIRMED, DeliveryState.PROVEN)


class CommitmentState(StrEnum):
    """One question whether an archive keeps what it took."""

    ASKING = "asking"  # noted; whether it was asked is not known
    ASKED = "asked"
    REFUSED = "refused"  # the archive did not take the question
    COMMITTED = "committed"  # storage commitment for all of it
    FOUND = "found"  # all of it found by C-FIND, at an archive without storage commitment
    FAILED = "failed"
    RESENT = "resent"  # what had failed is on its way once more
    GIVEN_UP = "given_up"


class NoticeState(StrEnum):
    """A notice of a verdict on its way to one channel. Whether the receiver may have it decides about a withdrawal."""

    WAITING = "waiting"  # never sent, or the receiver said no
    SENT = "sent"  # on the wire, no answer known
    DELIVERED = "delivered"  # acknowledged
    CANCELLED = "cancelled"  # its verdict was withdrawn before it was acknowledged
    DEAD = "dead"  # given up; the receiver does not have it
    LOST = "lost"  # given up; the receiver may have it


UNDELIVERED = (NoticeState.WAITING, NoticeState.SENT)
GIVEN_UP = (NoticeState.DEAD, NoticeState.LOST)
CARRIED = (NoticeState.SENT, NoticeState.DELIVERED, NoticeState.LOST)
