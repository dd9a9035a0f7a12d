"""The intake: one object in many pieces, the same one again, another one under its UID, no room, and many at once."""

import os
import resource
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import func, select, update

from node.demo.phantom import make_series
from node.dicom.part10 import split
from node.intake.incoming import BUFFER_BYTES, Head, Rejected, Status
from node.records import instances
from node.records.database import Records, migrate
from node.records.tables import INSTANCES, SERIES
from node.spool import Spool
from node.stages.receive import Arrival, Intake

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"


class Place:
    """An intake with its spool and records. `equal`: what it is told when it asks about the pixels of two."""

    def __init__(self, state: Path, *, maximum_bytes: int = 1 << 30) -> None:
        migrate(state)
        self.spool, self.records, self.equal = Spool(state, reserve_bytes=0), Records(state), False
        self.asked: list[tuple[str, str]] = []
        self.spool.prepare()
        self.intake = Intake(
            self.spool,
            self.records,
            implementation_uid="2.25.1",
            maximum_bytes=maximum_bytes,
            clock=lambda: 1000.0,
            same_pixels=self._same_pixels,
        )

    def _same_pixels(self, first: str, second: str) -> bool:
        self.asked.append((first, second))
        assert self.spool.path(first).is_file()
        assert self.spool.path(second).is_file()
        return self.equal

    def store(self, data: bytes, uid: str, *, syntax: str = EXPLICIT_LE) -> bool:
        return self.intake.store(
            Arrival(
                sop_class_uid=CT,
                sop_instance_uid=uid,
                transfer_syntax=syntax,
                data_set=data,
                association="a",
                calling_ae="OTHER",
            )
        )

    def files(self) -> list[Path]:
        return sorted(path for path in self.spool.root.rglob("*.dcm"))

    def count(self) -> int:
        with self.records.read() as connection:
            return int(connection.execute(select(func.sum(SERIES.c.instances))).scalar_one() or 0)

    def close(self) -> None:
        self.intake.close()
        self.records.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with closing(Place(tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """SOP Instance UID and data set."""
    made = []
    for path in make_series(tmp_path_factory.mktemp("phantom"), slices=12):
        meta, data = split(path)
        made.append((meta.sop_instance_uid, bytes(data)))
    return made


def pixels_changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("piece", [1000, 131_066, 10_000_000])
def test_an_object_may_come_in_any_pieces(place: Place, slices: list[tuple[str, bytes]], piece: int) -> None:
    uid, data = slices[0]
    head = Head(
        sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax=EXPLICIT_LE, association="a", calling_ae="OTHER"
    )
    incoming, left = place.intake.begin(head), memoryview(data)
    while left:
        room = incoming.buffer()
        assert len(room) > 0
        count = min(len(room), len(left), piece)
        room[:count] = left[:count]
        left = left[count:]
        incoming.advance(count)
    done = incoming.finish()

    assert done.result() is True
    (file,) = place.files()
    assert bytes(split(file)[1]) == data
    assert incoming.size == len(data)


def large(uid: str, size: int) -> bytes:
    """An object of about that many bytes: one private value makes it long."""
    head = b"\x08\0\x16\0UI\x1a\0" + CT.encode() + b"\0" + b"\x08\0\x18\0UI" + len(uid).to_bytes(2, "little")
    head += uid.encode() + b"\x20\0\x0d\0UI\x04\x001.2\0" + b"\x20\0\x0e\0UI\x04\x001.3\0"
    return head + b"\xe0\x7f\x10\0OW\0\0" + size.to_bytes(4, "little") + os.urandom(size)


@pytest.mark.parametrize("more", [-400, -300, -200, 0, 1, 5_000_000])
def test_what_does_not_fit_into_the_buffer_is_kept_as_it_came(place: Place, more: int) -> None:
    data = large("1.2.3.44", BUFFER_BYTES + more & ~1)

    assert place.store(data, "1.2.3.44") is True
    (file,) = place.files()
    assert bytes(split(file)[1]) == data


def test_the_same_object_again_is_no_new_one_and_leaves_no_file(place: Place, slices: list[tuple[str, bytes]]) -> None:
    uid, data = slices[0]

    assert [place.store(data, uid) for _ in range(3)] == [True, False, False]
    assert len(place.files()) == 1
    assert place.count() == 1


def test_another_header_with_the_same_pixels_is_taken_for_the_same_object(
    place: Place, slices: list[tuple[str, bytes]]
) -> None:
    uid, data = slices[0]
    place.store(data, uid)

    protocol = data.index(b"\x18\0\x30\x10LO")  # Protocol Name (0018,1030)
    changed = data[: protocol + 8] + bytes([data[protocol + 8] ^ 1]) + data[protocol + 9 :]
    assert place.store(changed, uid) is False
    assert len(place.files()) == 1


def test_other_pixels_under_a_known_uid_are_put_aside_once(place: Place, slices: list[tuple[str, bytes]]) -> None:
    uid, data = slices[0]
    place.store(data, uid)
    for _ in range(2):
        with pytest.raises(Rejected, match="other pixels") as refused:
            place.store(pixels_changed(data), uid)
        assert refused.value.status is Status.CONFLICT
    assert len(place.files()) == 2
    assert place.asked == []  # one transfer syntax: the bytes are compared, nothing is decoded
    assert place.count() == 1


@pytest.mark.parametrize("equal", [True, False])
def test_the_same_uid_in_another_encoding_is_compared_by_its_pixels(
    place: Place, slices: list[tuple[str, bytes]], equal: bool
) -> None:
    uid, data = slices[0]
    place.equal = equal
    place.store(data, uid)
    if equal:
        assert place.store(_deflated(pixels_changed(data)), uid, syntax=DEFLATED) is False
    else:
        with pytest.raises(Rejected, match="other pixels"):
            place.store(_deflated(pixels_changed(data)), uid, syntax=DEFLATED)
    assert len(place.asked) == 1
    assert len(place.files()) == 1 + (not equal)


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def test_a_purged_object_that_comes_again_has_its_file_again(place: Place, slices: list[tuple[str, bytes]]) -> None:
    uid, data = slices[0]
    place.store(data, uid)
    place.files()[0].unlink()
    with place.records.write() as connection:
        connection.execute(update(INSTANCES).values(file=""))

    assert place.store(data, uid) is False
    with place.records.read() as connection:
        known = instances.by_uid(connection, uid)
    assert known is not None
    assert place.files() == [place.spool.path(known.file)]


def test_many_at_once_are_all_recorded_and_the_doubles_among_them_once(
    place: Place, slices: list[tuple[str, bytes]]
) -> None:
    new: list[bool] = []

    def send(some: list[tuple[str, bytes]]) -> None:
        new.extend(place.store(data, uid) for uid, data in some)

    threads = [threading.Thread(target=send, args=(slices[n:] + slices[:n],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(new) == [False] * 60 + [True] * 12
    assert len(place.files()) == 12
    assert place.count() == 12


def test_what_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    with closing(Place(tmp_path, maximum_bytes=4_000_000)) as place:
        head = Head(
            sop_class_uid=CT, sop_instance_uid="1.2.3", transfer_syntax=EXPLICIT_LE, association="a", calling_ae="O"
        )
        incoming = place.intake.begin(head)
        incoming.advance(len(incoming.buffer()))
        with pytest.raises(Rejected) as refused:
            incoming.advance(len(incoming.buffer()))
        incoming.abandon()  # may be called, though nothing is left

        assert refused.value.status is Status.TOO_LARGE
        assert place.files() == []


def test_one_that_is_given_up_leaves_nothing(place: Place) -> None:
    head = Head(
        sop_class_uid=CT, sop_instance_uid="1.2.3", transfer_syntax=EXPLICIT_LE, association="a", calling_ae="O"
    )
    incoming = place.intake.begin(head)
    incoming.advance(len(incoming.buffer()))
    assert len(place.files()) == 1
    incoming.abandon()

    assert place.files() == []


def _beyond_the_limit(state: str) -> None:
    """In a process of its own: files may have 3 MB, which stands for a disk that is full."""
    place = Place(Path(state))
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
    try:
        place.store(large("1.2.3.44", 8 << 20), "1.2.3.44")
    except Rejected as error:
        sys.stdout.write(f"{error} {len(place.files())} {place.spool.has_failed()}")
    os._exit(0)


def test_a_disk_that_is_full_in_mid_object_is_said_and_leaves_no_half_file(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    call = f"import sys; sys.path.insert(0, {str(root)!r}); from tests.unit import test_intake as t; "
    call += f"t._beyond_the_limit({str(tmp_path)!r}); "
    done = subprocess.run([sys.executable, "-u", "-c", call], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "0xa700 No disk space; try again later 0 False", done.stderr


def test_a_file_system_of_memory_takes_objects_too(slices: list[tuple[str, bytes]]) -> None:
    """Some have no O_DIRECT."""
    if not Path("/dev/shm").is_dir():  # noqa: S108
        pytest.skip("there is no /dev/shm here")
    uid, data = slices[0]
    with TemporaryDirectory(dir="/dev/shm") as folder, closing(Place(Path(folder))) as place:
        assert place.store(data, uid) is True
        assert bytes(split(place.files()[0])[1]) == data
