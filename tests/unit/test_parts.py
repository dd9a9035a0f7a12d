"""multipart/related and Part 10 as they come by HTTP: the same whatever the blocks, and hostile bytes break nothing."""

import itertools
import random
import struct
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dicom.classes import DEFLATED_LE, EXPLICIT_LE
from node.intake.incoming import Head, Rejected, Status
from node.intake.unwrap import MAXIMUM_META_BYTES, Unwrapper
from node.peers.web.parts import Malformed, Parts, TooMany, boundary_of, media_type
from node.spool import file_meta

CT = "1.2.840.10008.5.1.4.1.1.2"
PREFIX = b"\0" * 128 + b"DICM"


class Collected:
    """A sink that keeps everything."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers, self.body, self.state = headers, bytearray(), "open"

    def feed(self, block: memoryview) -> None:
        assert self.state == "open"
        self.body += block

    def end(self) -> None:
        self.state = "whole"

    def broken(self) -> None:
        self.state = "broken"


def parse(body: bytes, *, cuts: list[int] | None = None, most: int = 100) -> tuple[list[Collected], bool]:
    """The parts of a body with boundary `B`, fed in blocks that end at `cuts`."""
    found: list[Collected] = []

    def open_part(headers: dict[str, str]) -> Collected:
        found.append(Collected(headers))
        return found[-1]

    parts = Parts(b"B", open_part, most=most)
    edges = [0, *sorted(cuts or []), len(body)]
    for start, stop in itertools.pairwise(edges):
        parts.feed(body[start:stop])
    parts.close()
    return found, parts.whole


def body_of(*parts: bytes, preamble: bytes = b"") -> bytes:
    return (
        preamble
        + b"".join(b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts)
        + b"\r\n--B--"
    )


@given(
    parts=st.lists(st.binary(max_size=60).filter(lambda part: b"--B" not in part), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 32),
)
def test_the_parts_are_the_same_however_the_body_is_cut(parts: list[bytes], seed: int) -> None:
    body, chance = body_of(*parts), random.Random(seed)
    cuts = [chance.randrange(len(body) + 1) for _ in range(chance.randrange(20))]

    found, whole = parse(body, cuts=cuts)

    assert whole
    assert [bytes(one.body) for one in found] == parts
    assert {one.state for one in found} == {"whole"}
    assert all(one.headers == {"content-type": "application/dicom"} for one in found)


@given(body=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_bytes_are_parsed_or_called_malformed(body: bytes, cut: int) -> None:
    for prefix in (b"", b"--B\r\n", b"--B\r\nA: b\r\n\r\n", b"\r\n--B\r\n\r\n"):
        try:
            found, whole = parse(prefix + body, cuts=[min(cut, len(prefix + body))])
        except Malformed:
            continue
        assert whole or all(one.state != "open" for one in found)


def test_what_does_not_end_is_told_so() -> None:
    whole = body_of(b"first", b"second")
    for length in range(len(whole)):
        found, complete = parse(whole[:length])
        assert not complete
        assert [one.state for one in found] in ([], ["broken"], ["whole"], ["whole", "broken"], ["whole", "whole"])
    assert parse(whole)[1]
    assert parse(whole + b"\r\nepilogue")[1]
    assert [bytes(one.body) for one in parse(body_of(b"x", preamble=b"For old readers."))[0]] == [b"x"]
    assert [bytes(one.body) for one in parse(body_of(b"", b"", b"x"))[0]] == [b"", b"", b"x"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no boundary at all" * 1000, "does not begin"),
        (b"--B\r\n" + b"X: " + b"y" * 10_000, "exceed"),
        (b"--B\r\n" + b"a:b\r\n" * 40 + b"\r\n", "more than 32"),
        (b"--B\r\nnothing\r\n\r\n", "no name"),
        (b"--B\r\n\xff: a\r\n\r\n", "not ASCII"),
        (b"--BOTHER\r\n\r\n", "followed by something else"),
    ],
)
def test_what_breaks_rfc_2046_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse(body)


def test_the_number_of_parts_is_limited() -> None:
    with pytest.raises(TooMany):
        parse(body_of(b"1", b"2", b"3"), most=2)


def test_content_types() -> None:
    kind, parameters = media_type('Multipart/Related; Type="application/DICOM"; boundary="a b:c"')
    assert (kind, parameters["type"], boundary_of(parameters)) == ("multipart/related", "application/dicom", b"a b:c")
    orthanc = "2a7460da-e6da-497d-ac86-fedc60bb9705-2a7460da-e6da-497d-ac86-fedc60bb9705"  # 73, and not quoted
    assert boundary_of(media_type(f'multipart/related; type="application/dicom"; boundary={orthanc}')[1])
    for header in (
        "multipart/related",
        "multipart/related; boundary=",
        f"multipart/related; boundary={'x' * 201}",
        'a; boundary="x\u00e9"',
    ):
        with pytest.raises(Malformed):
            boundary_of(media_type(header)[1])


class Kept:
    """Stands at the place of `Incoming`: what was begun, and its bytes."""

    def __init__(self, head: Head) -> None:
        self.head, self.data, self._room = head, bytearray(), bytearray(7)

    @property
    def size(self) -> int:
        return len(self.data)

    def buffer(self) -> memoryview:
        return memoryview(self._room)

    def advance(self, count: int) -> None:
        self.data += self._room[:count]

    def finish(self) -> "Future[bool]":
        done: Future[bool] = Future()
        done.set_result(True)
        return done

    def abandon(self) -> None:
        self.data.clear()


def unwrap(file: bytes, *, blocks: int = 1) -> tuple[Unwrapper, list[Kept]]:
    kept: list[Kept] = []

    def begin(head: Head) -> Any:
        kept.append(Kept(head))
        return kept[-1]

    one = Unwrapper(begin, association="a", calling_ae="WEB", study_uid="1.2")
    for start in range(0, len(file), max(1, len(file) // blocks)):
        one.feed(file[start : start + max(1, len(file) // blocks)])
    one.finish()
    return one, kept


def meta(syntax: str = EXPLICIT_LE, uid: str = "1.2.3") -> bytes:
    return file_meta(sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax=syntax, implementation_uid="1.2.9")


def private(number: int, size: int) -> bytes:
    """An element (0002,01nn) of that many bytes."""
    return struct.pack("<HH2sHI", 0x0002, 0x0100 + number, b"OB", 0, size) + bytes(size)


@pytest.mark.parametrize("blocks", [1, 2, 50, 10_000])
def test_meta_information_is_taken_off(blocks: int) -> None:
    data = b"\x08\x00\x18\x00UI\x06\x001.2.3\0" + bytes(range(256))
    one, (kept,) = unwrap(meta() + data, blocks=blocks)
    assert bytes(kept.data) == data
    assert kept.head == Head(
        sop_class_uid=CT,
        sop_instance_uid="1.2.3",
        transfer_syntax=EXPLICIT_LE,
        association="a",
        calling_ae="WEB",
        study_uid="1.2",
    )
    assert (one.sop_class_uid, one.sop_instance_uid, one.size) == (CT, "1.2.3", len(data))


def test_a_deflated_data_set_that_looks_like_meta_information_is_not_read_as_such() -> None:
    data = b"\x02\x00\x02\x01UI\x02\x001\0" + bytes(30)
    assert bytes(unwrap(meta(DEFLATED_LE) + data)[1][0].data) == data


def test_a_wrong_or_missing_group_length_does_not_matter() -> None:
    right = meta()
    data = b"\x08\x00\x05\x00CS\x02\x00  "
    wrong = right[:140] + struct.pack("<I", 9999) + right[144:]
    missing = right[:132] + right[144:]
    for one in (right, wrong, missing):
        assert bytes(unwrap(one + data)[1][0].data) == data


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (b"", Status.UNREADABLE),
        (b"\0" * 100, Status.UNREADABLE),
        (b"\0" * 128 + b"DICOM" + b"\0" * 100, Status.UNREADABLE),
        (b"\0" * 128 + b"NOPE", Status.UNREADABLE),
        (meta()[:200], Status.UNREADABLE),
        (PREFIX + b"\x08\x00\x18\x00UI\x06\x001.2.3\0", Status.UNREADABLE),
        (PREFIX + b"\x02\x00\x02\x01OB\0\0" + struct.pack("<I", MAXIMUM_META_BYTES + 2), Status.UNREADABLE),
        (PREFIX + b"".join(private(number, 40_000) for number in (2, 3)) + bytes(8), Status.UNREADABLE),
        (PREFIX + b"\x02\x00\x10\x00\x04\0\0\0abcd", Status.UNREADABLE),
        (meta("1.2.840.10008.1.2.4.100") + bytes(10), Status.SYNTAX_UNSUPPORTED),
        (meta("") + bytes(10), Status.SYNTAX_UNSUPPORTED),
    ],
)  # fmt: skip
def test_what_is_no_part_10_file_is_refused(file: bytes, status: Status) -> None:
    with pytest.raises(Rejected) as raised:
        unwrap(file, blocks=5)
    assert raised.value.status is status


def test_a_uid_that_is_none_is_not_repeated_to_anybody() -> None:
    one, _ = unwrap(meta(uid="../../evil") + bytes(8))
    assert one.sop_instance_uid == ""
