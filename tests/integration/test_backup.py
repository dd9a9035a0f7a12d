"""A backup is whole or is none, costs only what is new, and is verified to the byte."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from node.backup import files, last_success, manifest, verifying
from node.backup.taking import secrets
from node.demo.phantom import make_series
from node.errors import BadSetting, Refuse
from node.purge import purge
from node.records import copies
from node.records.database import FILE_NAME
from node.settings import parse
from node.spool import Spool
from tests.backups import Kept, with_a_job
from tests.peers import wait_until
from tests.running_node import cli, settings_for

SLICES = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.fixture
def node(tmp_path: Path, made: list[Path]) -> Kept:
    return with_a_job(tmp_path, made)


def test_it_holds_what_the_records_name_and_the_settings(node: Kept, made: list[Path]) -> None:
    (node.state / "spool" / "out" / "of-nobody.dcm").write_bytes(b"not recorded")

    taken = node.take()

    wanted = {"records.sqlite", "settings.toml", "spool/in/x/x", *(f"spool/out/{path.name}" for path in made)}
    assert set(taken.found.files) == wanted
    assert {str(p.relative_to(taken.folder)) for p in files.tree(taken.folder)} == wanted | {
        "manifest.json", "manifest.sha256",
    }  # fmt: skip
    assert verifying.faults(taken.folder, taken.found) == []
    assert taken.found.missing == ()
    assert last_success(node.state) == taken.found.taken_at
    assert oct(taken.folder.stat().st_mode & 0o777) == "0o700"


def test_there_is_no_last_success_before_the_first_one(tmp_path: Path) -> None:
    assert last_success(tmp_path) == 0.0


def test_a_second_one_takes_room_only_for_what_is_new(node: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.backup.place.is_near", lambda state, where: False)  # as on another disk
    first, second = node.take(), node.take()

    assert (first.linked, second.linked) == (0, SLICES + 1)
    for name in first.found.files:
        same = (first.folder / name).stat().st_ino == (second.folder / name).stat().st_ino
        assert same == name.startswith("spool/"), name
    shutil.rmtree(first.folder)
    assert verifying.faults(second.folder, second.found) == []


def test_so_many_are_kept_and_those_of_others_are_left_alone(node: Kept, tmp_path: Path) -> None:
    folders = [node.take().folder, node.take().folder]
    shutil.copytree(folders[0], foreign := node.place / "imaging-node-other")
    found = manifest.read(foreign)
    replace(found, node={**found.node, "state": str(tmp_path / "another")}).write(foreign)

    third = node.take(keep=2)

    assert third.removed == (folders[0].name,)
    assert manifest.every(node.place, found.node) == [folders[1], third.folder]
    assert foreign.exists()


def test_the_same_disk_is_warned_of_and_the_nodes_own_folder_refused(node: Kept) -> None:
    assert "is on the file system of the node's folder" in node.take().warnings[0]

    for inside in (node.state, node.state / "backups", node.folder / "link"):
        if inside.name == "link":
            inside.symlink_to(node.state)
        with pytest.raises(BadSetting, match=r"lies in the node's own folder .*Name a folder on another disk"):
            Kept(folder=inside, settings=node.settings, file=node.file).take()


def test_a_disk_without_room_is_seen_before_and_while_it_is_written(
    node: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.backup.place.is_near", lambda state, where: False)
    with monkeypatch.context() as patch:
        patch.setattr(files, "free_bytes", lambda folder: 1 << 20)
        with pytest.raises(BadSetting, match=r"has 1 MB free; this backup needs 6\d MB\. Free some, keep fewer"):
            node.take()
    assert list(node.place.iterdir()) == []

    def full(source: Path, to: Path) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "copy", full)
    with pytest.raises(BadSetting, match=r"MB free\. Free some, keep fewer backups .* Earlier backups are untouched"):
        node.take()
    assert list(node.place.iterdir()) == []
    assert last_success(node.state) == 0.0


def test_one_that_was_killed_is_none_and_the_next_one_clears_it(node: Kept) -> None:
    os.mkfifo(node.state / "spool" / "in" / "x" / "y")  # whoever copies it waits
    with node.records() as records, records.write() as connection:
        connection.exec_driver_sql("UPDATE instances SET file = 'x/y'")
    (node.state / "spool" / "in" / "x" / "x").unlink()
    script = (
        "import sys\nfrom pathlib import Path\nfrom node.backup import place, taking\nfrom node.settings import load\n"
        "place.is_near = lambda state, where: False\n"
        "taking.take(load(Path(sys.argv[1])), Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", script, node.file, node.place]) as process:
        wait_until("it is at it", lambda: list(node.place.glob(".*.part/records.sqlite")), timeout_s=60)
        process.send_signal(signal.SIGKILL)
    assert manifest.newest(node.place) is None
    assert [path.name[-5:] for path in node.place.iterdir()] == [".part"]

    (node.state / "spool" / "in" / "x" / "y").unlink()
    (node.state / "spool" / "in" / "x" / "y").write_bytes(b"received")
    assert list(node.place.iterdir()) != [node.take().folder]
    assert len(list(node.place.iterdir())) == 1


def test_what_is_purged_meanwhile_is_left_out_and_the_copy_says_so(node: Kept) -> None:
    with node.records() as records:
        with records.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET state = 'delivered', updated_at = 1")
            connection.exec_driver_sql("UPDATE sets SET started_run = 1, state = 'routed'")
        spool = Spool(node.state, reserve_bytes=0)

        def purged(source: Path, to: Path) -> bool:
            if source.exists():
                assert purge(records, spool, keep_days=1, clock=lambda: 1e6 + 1e5)
                shutil.rmtree(node.state / "spool" / "out")
            return os.link(source, to) is None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "link", purged)
            taken = node.take()

    assert set(taken.found.files) == {"records.sqlite", "settings.toml"}
    assert taken.found.missing == ()
    with closing(copies.look(taken.folder / "records.sqlite")) as connection:
        assert connection.execute("SELECT file FROM instances").fetchall() == [("",)]
    assert verifying.faults(taken.folder, taken.found) == []


def test_a_file_that_the_node_itself_has_lost_is_said_and_everything_else_is_kept(node: Kept, made: list[Path]) -> None:
    (node.state / "spool" / "out" / made[0].name).unlink()

    code, said, _ = cli("backup", "-c", node.file, "--to", node.place, "--json")

    found = json.loads(said)
    assert (code, found["missing"]) == (1, [f"spool/out/{made[0].name}"])
    assert found["files"] == 2 + SLICES


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: flip(next((folder / "spool" / "out").iterdir())), "was changed"),
        (lambda folder: flip(folder / "records.sqlite"), "records.sqlite was changed"),
        (lambda folder: (folder / "spool" / "in" / "x" / "x").unlink(), "spool/in/x/x is missing"),
        (lambda folder: (folder / "settings.toml").write_bytes(b""), "settings.toml has 0 bytes, not"),
    ],
)
def test_damage_is_found_and_a_restore_from_it_changes_nothing(node: Kept, damage: object, said: str) -> None:
    taken = node.take()
    shutil.copytree(taken.folder, copy := node.folder / "copied")  # no hard links into the node
    shutil.rmtree(taken.folder)
    copy.rename(taken.folder)
    before = sorted(node.state.rglob("*"))
    assert callable(damage)
    damage(taken.folder)

    assert any(said in one for one in verifying.faults(taken.folder, taken.found))
    with pytest.raises(Refuse, match=f"is not whole: .*{said}.* Nothing was changed"):
        node.restore()
    assert sorted(node.state.rglob("*")) == before


def test_a_manifest_that_was_changed_is_no_manifest(node: Kept) -> None:
    folder = node.take().folder
    flip(folder / "manifest.json")

    for ask in (lambda: manifest.read(folder), lambda: manifest.one_of(node.place)):
        with pytest.raises(Refuse):
            ask()


def test_keys_are_copied_only_where_that_is_asked_for(node: Kept, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    sender = {"ae_title": "WEB", "token_file": str(tmp_path / "token")}
    raw = settings_for(tmp_path, stow={"port": 1, "senders": [sender]})
    other = Kept(folder=node.folder, settings=parse(raw, source="the test"), file=node.file)
    assert secrets(other.settings) == [tmp_path / "token"]

    assert not other.take().found.keys
    taken = other.take(keys=True)

    assert taken.found.keys == {"keys/0-token": str(tmp_path / "token")}
    assert (taken.folder / "keys" / "0-token").read_text() == "secret"


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_there_is_nothing_to_copy_before_the_first_start(tmp_path: Path, node: Kept) -> None:
    (node.state / FILE_NAME).unlink()

    with pytest.raises(BadSetting, match="There are no records"):
        node.take()
