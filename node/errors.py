"""The errors of the node; the class decides what happens next.

    NodeError
    ├── Retry        the same step again, later: the world was in the way
    │   └── EngineAway  the server that runs the network does not answer; jobs wait for it
    ├── Hold         a person looks: the result exists but must not leave
    │   ├── EngineOff  the engine no longer gives its known answers; nothing was made
    │   ├── Paused     a person paused the pipeline; the job goes on when it is resumed
    │   └── NotRegistered  a series could not be brought to the grid of another in a way that is believed
    ├── Refuse       failed for good: this input or this object will never pass
    └── BadSetting   the node does not start; the message says what to change

Every message gives the fact with its values, then the fix. No message names a patient: UIDs, descriptions and names
from the wire never enter one.
"""

from typing import Any


class NodeError(Exception):
    """Base of every error that the node raises on purpose."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        # A durable workflow stores what a step raised: keep message and fix apart when it comes back.
        return _restore, (type(self), self.message, self.fix)


def _restore(kind: type["NodeError"], message: str, fix: str) -> "NodeError":
    return kind(message, fix=fix)


class Retry(NodeError):
    """The same step may succeed later."""


class EngineAway(Retry):
    """The server that runs the network does not answer now."""


class Hold(NodeError):
    """A person has to look before anything leaves the node."""


class EngineOff(Hold):
    """The engine does not give what was recorded when it was validated; its pipelines make nothing."""


class NotRegistered(Hold):
    """A series was not brought to the grid of another one: the motion found for it is not believed."""


class Paused(Hold):
    """A person paused the pipeline of this job; it goes on when the pipeline is resumed."""


class Refuse(NodeError):
    """This will never succeed, however often it is tried."""


class BadSetting(NodeError):
    """The settings ask for something that cannot be; nothing was started."""
