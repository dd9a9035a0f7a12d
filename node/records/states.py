"""The closed sets of states that the records know."""

from enum import StrEnum


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


class JobState(StrEnum):
    """One pipeline on one set."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    HELD = "held"  # a person looks
    REFUSED = "refused"  # will never pass
    FAILED = "failed"  # a fault of the node; replay after it is mended
    DEAD = "dead"  # made, but a destination would not take it in days


class DispatchState(StrEnum):
    """One job on its way to one destination."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryState(StrEnum):
    """One instance on its way to one destination."""

    PENDING = "pending"
    SENT = "sent"  # on the wire, no answer known
    CONFIRMED = "confirmed"
    FAILED = "failed"
