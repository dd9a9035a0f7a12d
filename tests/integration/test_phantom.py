"""`imaging-node phantom`: a series to try a site with."""

from pathlib import Path

import pydicom

from node.demo.archive import Archive
from tests.peers import free_port
from tests.running_node import cli


def test_it_is_written_and_sent_and_is_another_series_each_time(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive") as archive:
        target = f"{Archive.AE_TITLE}@127.0.0.1:{archive.port}"
        status, said, trouble = cli("phantom", "--to", tmp_path / "one", "--send", target, "--slices", "3")
        assert (status, trouble) == (0, "")
        assert f"3 slices taken by {target}" in said
        written = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "one").iterdir()}
        assert set(archive.arrived) == written

        assert cli("phantom", "--send", target, "--slices", "3")[0] == 0
        assert len(archive.arrived) == 6


def test_a_wrong_target_says_what_to_change(tmp_path: Path) -> None:
    assert cli("phantom")[0::2] == (
        2,
        "imaging-node: Nobody said where the phantom goes. Add --to FOLDER, or --send TITLE@HOST:PORT.\n",
    )
    status, _, trouble = cli("phantom", "--send", "ORTHANC:4242")
    assert (status, "TITLE@HOST:PORT" in trouble) == (2, True)
    status, _, trouble = cli("phantom", "--slices", "3", "--send", f"ANY@127.0.0.1:{free_port()}")
    assert (status, "no connection" in trouble) == (1, True)
