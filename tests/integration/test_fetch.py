"""`imaging-node fetch`: real archives send what is asked for, to the node's port or back on the same association."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.demo.phantom import make_series
from node.dicom.part10 import split
from node.records import instances
from node.records.database import Records
from node.records.states import Ending
from node.spool import Spool
from tests.delivering import uid
from tests.peers import HOST, DcmQrScp, Orthanc, Peer, dcmsend, free_port
from tests.running_node import AE_TITLE, cli, settings_for, write_toml

SLICES = 4


class Receiver(Peer):
    """The receiver of a node on its own."""

    tool = "dcmsend"  # without a sender there is nothing to fetch

    def __init__(self, folder: Path, archive: Orthanc | DcmQrScp, *, port: int) -> None:
        super().__init__(folder)
        self.port, self.raw = port, settings_for(folder, port=port)
        self.raw["peers"].append({"name": "archive", "ae_title": archive.aet, "addresses": [HOST]})
        self.raw["destinations"].append(
            {"kind": "dicom", "name": "archive", "ae_title": archive.aet, "host": HOST, "port": archive.port}
        )
        self.file = write_toml(folder / "node.toml", self.raw)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "node", "run", "receiver", "-c", str(self.file)]

    def fetch(self, *what: str, file: Path | None = None) -> tuple[int, dict[str, Any], str]:
        """Exit status, what was printed as JSON (empty if nothing), and the last line of standard error."""
        code, out, said = cli("fetch", "-c", file or self.file, "--from", "archive", *what, "--json")
        return code, json.loads(out) if out else {}, said.strip().splitlines()[-1] if said.strip() else ""

    def holds(self, files: list[Path]) -> set[str]:
        """Which of these are here, byte for byte."""
        state = Path(self.raw["node"]["state"])
        spool = Spool(state, reserve_bytes=0)
        with closing(Records(state)) as records, records.read() as connection:
            found = {uid(path): instances.by_uid(connection, uid(path)) for path in files}
            keys = instances.association_keys(connection, series_of(files[0]))
            endings = {one["ending"] for one in instances.associations(connection, keys)}
        assert endings <= {Ending.RELEASED}  # what assembling needs to know
        for path in files:
            one = found[uid(path)]
            if one is not None:
                assert split(spool.path(one.file))[1] == split(path)[1]
        return {key for key, one in found.items() if one is not None}


def series_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


def study_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("made"), slices=SLICES)


@pytest.mark.parametrize("kind", [Orthanc, DcmQrScp])
def test_what_an_archive_has_comes_whole_and_what_it_has_not_is_said(
    tmp_path: Path, made: list[Path], kind: type[Orthanc] | type[DcmQrScp]
) -> None:
    port = free_port()
    study, series = study_of(made[0]), series_of(made[0])
    every = {uid(path) for path in made}
    all_came = {"wanted": SLICES, "arrived": SLICES, "failed": 0, "warnings": 0, "trouble": ""}
    with kind(tmp_path / "archive", node=(AE_TITLE, port)) as archive:
        (sent,) = dcmsend(archive.port, made, called=archive.aet)
        assert sent.stored == SLICES

        away = Receiver(tmp_path / "away", archive, port=port)
        code, _, said = away.fetch("--study", study)
        assert (code, "does not run" in said) == (2, True)
        code, _, said = away.fetch("--study", "1.2.3.4.5", "--get")
        assert (code, "knows no study with this UID" in said) == (1, True), (said, archive.tail())
        code, found, _ = away.fetch("--study", study, "--series", series, "--get")  # no node runs
        assert (code, found) == (0, all_came)
        assert away.holds(made) == every

        with Receiver(tmp_path / "node", archive, port=port) as node:
            code, found, _ = node.fetch("--study", study)
            assert (code, found) == (0, all_came)
            assert node.holds(made) == every
            assert node.fetch("--study", study)[:2] == (0, all_came)  # the same once more changes nothing

            # An archive that does not know the node's title as a destination.
            node.raw["receiver"]["ae_title"] = "STRANGER"
            node.raw["destinations"][-1]["calling_ae_title"] = AE_TITLE
            code, found, said = node.fetch("--study", study, file=write_toml(tmp_path / "stranger.toml", node.raw))
            assert code == 1, said
            assert found["trouble"], said
