"""The spool: a name of ours for every file, whole or not there, and a plain word when the disk is full."""

import hashlib
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from node.errors import BadSetting
from node.spool import Spool, SpoolFull, file_meta, written_aside

META = file_meta(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid="1.2.3",
    transfer_syntax="1.2.840.10008.1.2.1",
    implementation_uid="2.25.1",
)
DATA = b"the data set"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path, reserve_bytes=0)
    made.prepare()
    return made


def files(spool: Spool) -> list[Path]:
    return [path for path in spool.root.rglob("*") if path.is_file()]


def test_a_file_is_named_by_the_digest_of_its_data_set_and_holds_what_came(spool: Spool) -> None:
    name = spool.keep(SHA256, META, DATA)
    spool.sync({name})

    assert name == f"{SHA256}.dcm"
    assert spool.path(name) == spool.root / "in" / SHA256[:2] / name
    assert spool.path(name).read_bytes() == META + DATA
    assert files(spool) == [spool.path(name)]


def test_the_same_bytes_twice_are_one_file(spool: Spool) -> None:
    assert spool.keep(SHA256, META, DATA) == spool.keep(SHA256, META, memoryview(DATA))
    assert len(files(spool)) == 1


def test_nobody_else_may_read_what_was_received(spool: Spool) -> None:
    name = spool.keep(SHA256, META, DATA)

    assert stat.S_IMODE(spool.path(name).stat().st_mode) == 0o600
    folders = [spool.root / "in", spool.path(name).parent, spool.root / "aside", spool.work, spool.out]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_the_meta_information_has_a_blank_preamble_and_an_even_length_for_every_value(spool: Spool) -> None:
    name = spool.keep(SHA256, META, b"")
    meta = pydicom.filereader.read_file_meta_info(spool.path(name))

    assert META[:132] == b"\0" * 128 + b"DICM"
    assert meta.FileMetaInformationGroupLength == len(META) - 132 - 12
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == ("1.2.3", "1.2.840.10008.1.2.1")
    assert meta.ImplementationClassUID == "2.25.1"


def test_what_a_dead_process_left_half_written_is_swept_and_what_a_living_one_writes_is_not(spool: Spool) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    left = spool.root / "aside" / f"{dead.pid}-0123"
    alive = spool.root / "aside" / f"{os.getpid()}-0123"
    nameless = spool.root / "aside" / "probe"
    old_boot = spool.work.parent / "another-boot" / "job"
    old_boot.mkdir(parents=True)
    for path in (left, alive, nameless, old_boot / "voxels.npy"):
        path.write_bytes(b"half")
    name = spool.keep(SHA256, META, DATA)

    spool.sweep()

    assert sorted(files(spool)) == sorted([alive, spool.path(name)])
    assert spool.work.is_dir()
    assert not old_boot.exists()


def test_preparing_twice_keeps_what_is_there(spool: Spool) -> None:
    name = spool.keep(SHA256, META, DATA)

    spool.prepare()

    assert files(spool) == [spool.path(name)]


def test_below_the_reserve_nothing_is_written(tmp_path: Path) -> None:
    full = Spool(tmp_path, reserve_bytes=1 << 60)
    full.prepare()

    with pytest.raises(SpoolFull, match=r"Less disk space is free than node\.disk_reserve_mb"):
        full.keep(SHA256, META, DATA)
    assert files(full) == []


def test_room_counts_the_object_itself(spool: Spool) -> None:
    assert spool.has_room(0)
    assert not spool.has_room(1 << 60)


def _keep_more_than_the_limit(state: str) -> None:
    """In a process of its own: files may have 1 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    spool = Spool(Path(state), reserve_bytes=0)
    try:
        spool.keep("ab" * 32, META, bytes(2 << 20))
    except SpoolFull as error:
        print(error)
    print(len(files(spool)))


def test_a_disk_that_is_full_in_mid_file_is_said_and_leaves_no_half_file(spool: Spool) -> None:
    """A file size limit stands for the full disk: the write is cut and fails with EFBIG."""
    root = Path(__file__).parents[2]
    call = f"import sys; sys.path.insert(0, {str(root)!r}); from tests.unit import test_spool as t; "
    call += f"t._keep_more_than_the_limit({str(spool.root.parent)!r})"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "The spool's disk is full. Free some; senders try again.\n0\n"
    assert files(spool) == []


def test_a_state_folder_that_cannot_be_made_stops_the_start_with_the_fix(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")

    with pytest.raises(BadSetting, match=r"cannot be written: Not a directory\. .* set node\.state to another one"):
        Spool(blocked / "state", reserve_bytes=0).prepare()


def test_holds_is_true_only_of_the_very_bytes(spool: Spool) -> None:
    name = spool.keep(SHA256, b"", DATA)
    below = f"in/{SHA256[:2]}/{name}"

    assert spool.holds(below, SHA256)
    spool.path(name).write_bytes(DATA + b"!")
    assert not spool.holds(below, SHA256)
    spool.path(name).unlink()
    assert not spool.holds(below, SHA256)


def write_whole(path: Path, data: bytes) -> None:
    with written_aside(path) as file:
        file.write(data)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"

    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"half")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "kept"]
