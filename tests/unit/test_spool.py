"""The spool: a name of ours for every file, whole or not there, and a plain word when the disk is full."""

import errno
import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest

from node.errors import BadSetting
from node.intake.aside import Aside
from node.intake.disk import SpoolFailed, SpoolFull, write_whole
from node.spool import Spool, file_meta, written_aside

META = file_meta(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid="1.2.3",
    transfer_syntax="1.2.840.10008.1.2.1",
    implementation_uid="2.25.1",
)
DATA = b"the data set"
SHA256 = hashlib.sha256(DATA).hexdigest()


def keep(spool: Spool, desk: Aside, data: bytes = DATA) -> str:
    """A file the way that the intake makes one."""
    name, descriptor = desk.create(direct=False)
    write_whole(descriptor, memoryview(META + data))
    os.close(descriptor)
    file = spool.adopt(desk.folder / name)
    spool.sync({file})
    return file


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path, reserve_bytes=0)
    made.prepare()
    return made


def files(spool: Spool) -> list[Path]:
    return sorted(path for path in spool.root.rglob("*") if path.is_file())


@pytest.fixture
def desk(spool: Spool) -> Iterator[Aside]:
    with closing(spool.desk()) as made:
        yield made


def test_a_file_is_named_by_its_process_and_lies_in_the_folder_of_its_hour(spool: Spool, desk: Aside) -> None:
    file = keep(spool, desk)

    assert re.fullmatch(rf"20[0-9]{{8}}/{desk.token}-00000000\.dcm", file)
    assert spool.path(file) == spool.root / "in" / file
    assert spool.path(file).read_bytes() == META + DATA
    assert files(spool) == [spool.path(file)]


def test_the_same_bytes_twice_are_two_files_until_the_records_say_which_one_stays(spool: Spool, desk: Aside) -> None:
    first, second = keep(spool, desk), keep(spool, desk)

    spool.discard(second)

    assert files(spool) == [spool.path(first)]


def test_files_of_versions_with_hashed_folders_are_found(spool: Spool) -> None:
    assert spool.path(f"{SHA256}.dcm") == spool.root / "in" / SHA256[:2] / f"{SHA256}.dcm"


def test_an_hour_whose_folder_was_purged_gets_another_one(spool: Spool, desk: Aside) -> None:
    first = spool.path(keep(spool, desk))
    first.unlink()
    first.parent.rmdir()

    assert spool.path(keep(spool, desk)).is_file()


def test_nobody_else_may_read_what_was_received(spool: Spool, desk: Aside) -> None:
    file = keep(spool, desk)

    assert stat.S_IMODE(spool.path(file).stat().st_mode) == 0o600
    folders = [spool.root / "in", spool.path(file).parent, spool.root / "aside", desk.folder, spool.work, spool.out]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_the_meta_information_has_a_blank_preamble_and_an_even_length_for_every_value(
    spool: Spool, desk: Aside
) -> None:
    meta = pydicom.filereader.read_file_meta_info(spool.path(keep(spool, desk, b"")))

    assert META[:132] == b"\0" * 128 + b"DICM"
    assert meta.FileMetaInformationGroupLength == len(META) - 132 - 12
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == ("1.2.3", "1.2.840.10008.1.2.1")
    assert meta.ImplementationClassUID == "2.25.1"


def _die_at_work(state: str) -> None:
    """In a process of its own: one file half-written, one renamed, and SIGKILL."""
    spool = Spool(Path(state), reserve_bytes=0)
    desk = spool.desk()
    keep(spool, desk)
    keep(spool, desk)
    desk.create(direct=False)
    sys.stdout.write(f"{desk.token}\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def elsewhere(call: str, spool: Spool) -> subprocess.CompletedProcess[str]:
    """Run one of this module's functions on the state folder, in another process."""
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from tests.unit import test_spool as t; "
    code += f"t.{call}({str(spool.root.parent)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_what_dead_processes_left_is_swept_and_what_living_ones_write_is_not(spool: Spool, desk: Aside) -> None:
    done = elsewhere("_die_at_work", spool)
    assert done.returncode == -signal.SIGKILL, done.stderr
    token = done.stdout.strip()
    recorded, orphan = sorted(f"{p.parent.name}/{p.name}" for p in (spool.root / "in").glob(f"*/{token}-*"))
    mine = keep(spool, desk)
    half, _ = desk.create(direct=False)
    old_boot = spool.work.parent / "another-boot" / "job"
    old_boot.mkdir(parents=True)
    for left in (old_boot / "voxels.npy", spool.root / "aside" / "probe"):
        left.write_bytes(b"half")
    asked: list[str] = []

    def records(files: Iterable[str]) -> set[str]:
        asked.extend(files)
        return {recorded}

    spool.sweep(records)

    assert files(spool) == sorted([desk.folder / half, spool.path(mine), spool.path(recorded)])
    assert sorted(asked) == [recorded, orphan]
    assert [one.name for one in (spool.root / "aside").iterdir()] == [desk.token]
    assert spool.work.is_dir()
    assert not old_boot.exists()


def test_preparing_twice_keeps_what_is_there(spool: Spool, desk: Aside) -> None:
    file = keep(spool, desk)

    spool.prepare()

    assert files(spool) == [spool.path(file)]


def test_below_the_reserve_there_is_no_room(tmp_path: Path) -> None:
    full = Spool(tmp_path, reserve_bytes=1 << 60)
    full.prepare()

    with pytest.raises(SpoolFull, match=r"Less disk space is free than node\.disk_reserve_mb"):
        full.require_room()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_disk_that_failed_is_not_trusted_again_by_any_process_until_the_node_starts(
    spool: Spool, tmp_path: Path, number: int
) -> None:
    sibling = Spool(tmp_path, reserve_bytes=0)
    sibling.require_room()

    assert isinstance(spool.trouble(OSError(number, os.strerror(number))), SpoolFailed)

    for one in (spool, sibling):
        with pytest.raises(SpoolFailed, match="Check the disk, then start the node again"):
            one.require_room()
    sibling.prepare()
    sibling.require_room()


def test_a_full_disk_is_no_failed_disk(spool: Spool) -> None:
    assert isinstance(spool.trouble(OSError(errno.ENOSPC, "")), SpoolFull)
    assert not spool.has_failed()


def test_room_counts_the_object_itself(spool: Spool) -> None:
    assert spool.has_room(0)
    assert not spool.has_room(1 << 60)


def test_a_state_folder_that_cannot_be_made_stops_the_start_with_the_fix(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")

    with pytest.raises(BadSetting, match=r"cannot be written: Not a directory\. .* set node\.state to another one"):
        Spool(blocked / "state", reserve_bytes=0).prepare()


def test_holds_is_true_only_of_the_very_bytes(spool: Spool) -> None:
    below = "out/result.dcm"
    (spool.root / below).write_bytes(DATA)

    assert spool.holds(below, SHA256)
    (spool.root / below).write_bytes(DATA + b"!")
    assert not spool.holds(below, SHA256)
    (spool.root / below).unlink()
    assert not spool.holds(below, SHA256)


def replace_with(path: Path, data: bytes) -> None:
    with written_aside(path) as file:
        file.write(data)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    replace_with(path, b"old")
    replace_with(path, b"new")
    assert path.read_bytes() == b"new"

    with pytest.raises(FileNotFoundError):
        replace_with(tmp_path / "missing" / "file", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_with(tmp_path / "folder", b"half")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "kept"]
