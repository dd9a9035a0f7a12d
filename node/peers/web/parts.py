"""multipart/related as it comes (RFC 2046 5.1.1, RFC 2387, PS3.18 8.6.1.2): never more than a block in memory."""

import re
from collections.abc import Callable
from email.message import Message
from enum import Enum, auto
from typing import Final, Protocol

_MOST_HEADERS: Final = 32
_HEADER_BYTES: Final = 8192
_PREAMBLE_BYTES: Final = 4096
# RFC 2046 allows 70 characters; Orthanc's DICOMweb plug-in sends 73 (two UUIDs).
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,199}[0-9A-Za-z'()+_,\-./:=?]")


class Malformed(ValueError):
    """The body breaks RFC 2046 or a limit. The text says how, never what stood there."""


class TooMany(Malformed):
    """More parts than may be in one request."""


class Sink(Protocol):
    """Where the bytes of one part go."""

    def feed(self, block: memoryview) -> None: ...

    def end(self) -> None:
        """The part is whole."""

    def broken(self) -> None:
        """The body ended in the middle of the part."""


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """Type and parameters of a Content-Type, in lower case but for the boundary. Raises Malformed."""
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    (kind, _), *rest = message.get_params() or [("", "")]
    parameters = {}
    for name, value in rest:
        if not isinstance(value, str):
            raise Malformed("Content-Type has an encoded parameter")
        parameters[name.lower()] = value if name.lower() == "boundary" else value.lower()
    return kind.strip().lower(), parameters


def boundary_of(parameters: dict[str, str]) -> bytes:
    """Raises Malformed."""
    text = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(text):
        raise Malformed("Content-Type names no boundary of 1 to 200 allowed characters")
    return text.encode("ascii")


class _At(Enum):
    PREAMBLE = auto()
    DELIMITER = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class Parts:
    """Takes a body block by block and gives the bytes of its parts to sinks.

    open_part: makes the sink of a part from its headers (names in lower case)
    most:      parts that one body may have

    `whole`: whether the closing delimiter was seen
    """

    def __init__(self, boundary: bytes, open_part: Callable[[dict[str, str]], Sink], *, most: int) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._open, self._most, self._count = open_part, most, 0
        self._held = b"\r\n"  # the first delimiter has no line before it
        self._at = _At.PREAMBLE
        self._sink: Sink | None = None
        self._before = 0

    @property
    def whole(self) -> bool:
        return self._at is _At.EPILOGUE

    def feed(self, block: bytes) -> None:
        """The next bytes of the body. Raises Malformed, and what sinks raise."""
        data = self._held + block
        at = 0
        while True:
            step = {
                _At.PREAMBLE: self._preamble,
                _At.DELIMITER: self._after_delimiter,
                _At.HEADERS: self._headers,
                _At.BODY: self._body,
                _At.EPILOGUE: self._epilogue,
            }[self._at]
            was, moved = self._at, step(data, at)
            if self._at is was:
                at = moved
                break
            at = moved
        self._held = data[at:]

    def close(self) -> None:
        """The body has ended. A part that was not closed is told so."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.broken()

    def _epilogue(self, data: bytes, at: int) -> int:
        return len(data)  # nothing in it concerns anybody

    def _preamble(self, data: bytes, at: int) -> int:
        found = data.find(self._delimiter, at)
        if found < 0:
            keep = max(at, len(data) - len(self._delimiter) + 1)
            self._before += keep - at
            if self._before > _PREAMBLE_BYTES:
                raise Malformed("the boundary of Content-Type does not begin the body")
            return keep
        self._at = _At.DELIMITER
        return found + len(self._delimiter)

    def _after_delimiter(self, data: bytes, at: int) -> int:
        if data.startswith(b"--", at):
            self._at = _At.EPILOGUE
            return len(data)
        end = data.find(b"\r\n", at)
        padding = data[at : end if end >= 0 else len(data)]
        if padding.strip(b" \t") not in (b"", b"-" if end < 0 else b"", b"\r" if end < 0 else b"") or len(padding) > 64:
            raise Malformed("a delimiter is followed by something else than the end of its line")
        if end < 0:
            return at
        self._count += 1
        if self._count > self._most:
            raise TooMany(f"more than {self._most} parts")
        self._at = _At.HEADERS
        return end  # the line end stays: with another one it ends empty headers

    def _headers(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at, at + _HEADER_BYTES)
        if end < 0:
            if len(data) - at > _HEADER_BYTES:
                raise Malformed(f"the headers of a part exceed {_HEADER_BYTES} bytes")
            return at
        self._sink = self._open(_parsed(data[at:end]))
        self._at = _At.BODY
        # An empty part: its delimiter begins with the line end that closes the headers.
        return end + 2 if data.startswith(self._delimiter, end + 2) else end + 4

    def _body(self, data: bytes, at: int) -> int:
        assert self._sink is not None
        found = data.find(self._delimiter, at)
        stop = found if found >= 0 else max(at, len(data) - len(self._delimiter) + 1)
        if stop > at:
            self._sink.feed(memoryview(data)[at:stop])
        if found < 0:
            return stop
        sink, self._sink = self._sink, None
        sink.end()
        self._at = _At.DELIMITER
        return found + len(self._delimiter)


def _parsed(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    lines = [line for line in raw.split(b"\r\n") if line]
    if len(lines) > _MOST_HEADERS:
        raise Malformed(f"a part has more than {_MOST_HEADERS} headers")
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name.strip() or not line.isascii():
            raise Malformed("a header of a part has no name, or is not ASCII")
        headers[name.strip().lower().decode("ascii")] = value.strip().decode("ascii")
    return headers
