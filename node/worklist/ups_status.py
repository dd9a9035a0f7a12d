"""Statuses of the worklist's answers: PS3.4 CC.2 and PS3.7 annex C."""

from enum import IntEnum, StrEnum
from typing import Final

PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"  # every workitem is an instance of this class (PS3.4 CC.3.1)
WATCH: Final = "1.2.840.10008.5.1.4.34.6.2"
PULL: Final = "1.2.840.10008.5.1.4.34.6.3"
EVENT: Final = "1.2.840.10008.5.1.4.34.6.4"
QUERY: Final = "1.2.840.10008.5.1.4.34.6.5"
ALL_ITEMS: Final = "1.2.840.10008.5.1.4.34.5"  # well-known instance of global subscriptions (PS3.4 CC.3.1.2)
SOME_ITEMS: Final = "1.2.840.10008.5.1.4.34.5.1"  # of filtered ones, which are not offered


class State(StrEnum):
    """Procedure Step State (0074,1000), PS3.4 table CC.1.1-1."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    CANCELED = "CANCELED"
    COMPLETED = "COMPLETED"


FINAL: Final = (State.CANCELED, State.COMPLETED)


class Status(IntEnum):
    """What the node answers."""

    SUCCESS = 0x0000
    NOT_ALL = 0x0001  # requested optional attributes are not supported
    INVALID_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE = 0x0111
    INVALID_ARGUMENT = 0x0115
    INVALID_OBJECT = 0x0117
    NO_SUCH_CLASS = 0x0118
    MISSING_ATTRIBUTE = 0x0120
    MISSING_VALUE = 0x0121
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    RESOURCE_LIMIT = 0x0213
    OUT_OF_RESOURCES = 0xA700
    BAD_IDENTIFIER = 0xA900
    MODIFIED = 0xB300
    NO_LOCK = 0xB301
    ALREADY_CANCELED = 0xB304
    COERCED = 0xB305
    ALREADY_COMPLETED = 0xB306
    FINAL = 0xC300
    WRONG_TRANSACTION = 0xC301
    ALREADY_IN_PROGRESS = 0xC302
    NEVER_SCHEDULED = 0xC303
    NOT_READY_FOR_END = 0xC304
    UNKNOWN = 0xC307
    UNKNOWN_RECEIVER = 0xC308
    NOT_SCHEDULED = 0xC309
    NOT_IN_PROGRESS = 0xC310
    COMPLETED = 0xC311
    NOT_REACHED = 0xC312
    NOT_FOR_THIS = 0xC314
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_NOT_ALL = 0xFF01  # optional keys were not supported


class Refusal(Exception):
    """A request that is not done. `comment`: for Error Comment (0000,0902), at most 64 characters, no values."""

    def __init__(self, status: Status, comment: str) -> None:
        super().__init__(comment)
        self.status, self.comment = status, comment[:64]
