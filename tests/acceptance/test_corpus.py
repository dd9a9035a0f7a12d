"""Broken and hostile objects, sent unchanged: each gets an answer, and the node stays as it was.

The files and what is wanted of them (`expect` in manifest.json) are ../shared/corpus.
"""

import contextlib
import importlib.util
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from node.records import instances, overview
from tests.conftest import SHARED
from tests.peers import HOST, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for

CORPUS, RAWSEND = SHARED / "corpus", SHARED / "tools" / "rawsend.py"
ANSWER_S = 20.0
# Families made for this project, whose wanted outcome is exact.
EXACT = (
    "gen_uid",
    "gen_lengths",
    "gen_nesting",
    "gen_clinical",
    "gen_bombs",
    "gen_conflict",
    "gen_text",
    "gen_preamble",
)
# The blank behind the UID was lost when these were written: the bytes hold "1.2.3.4" and a NUL, which is right.
WELL_FORMED = {"gen_uid/trailspace_SOPInstanceUID.dcm", "gen_uid/trailspace_SeriesInstanceUID.dcm"}
SUCCESS, CONFLICT = "status 0000", "status C001"

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the odd and broken objects (../shared/corpus) are not here"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The node after everything was sent. `answers`: file -> (answer, seconds); `before`: process ids by part."""

    node: RunningNode
    folder: Path
    answers: dict[str, tuple[str, float]]
    before: dict[str, int]
    echo: bool


def rawsend() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rawsend", RAWSEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("corpus")
    sender = rawsend()
    raw = settings_for(folder, assemble={"quiet_s": 2.0})
    raw["peers"].append({"name": "rawsend", "ae_title": "RAWSEND", "addresses": ["127.0.0.0/8"]})
    with contextlib.chdir(folder), RunningNode(folder, raw) as node:  # what has no path would come to lie here
        before = node.pids()
        answers = {}
        for path in sorted(CORPUS.rglob("*.dcm")):
            began = time.monotonic()
            answer, _ = sender.send(HOST, node.port, AE_TITLE, path.read_bytes(), ANSWER_S)
            answers[str(path.relative_to(CORPUS))] = (answer, time.monotonic() - began)
        echo = sender.echo(HOST, node.port, AE_TITLE)
        wait_until("every series was looked at", lambda: nothing_is_open(node), timeout_s=60, every_s=0.5)
        yield Run(node=node, folder=folder, answers=answers, before=before, echo=echo)


def nothing_is_open(node: RunningNode) -> bool:
    with closing(node.records()) as records, records.read() as connection:
        return not overview.open_series(connection) and not overview.sets(connection)["frozen"]


def expected() -> dict[str, str]:
    entries = json.loads((CORPUS / "manifest.json").read_text(encoding="utf-8"))
    return {entry["file"]: entry["expect"] for entry in entries if entry["file"].split("/")[0] in EXACT}


def test_every_object_gets_an_answer_in_time_and_none_fills_the_disk(run: Run) -> None:
    answered = re.compile(r"status [0-9A-F]{4}|context-rejected [1-4]|assoc-rj \d/\d/\d|abort src\d r\d")

    assert len(run.answers) > 450
    assert {file: said for file, said in run.answers.items() if not answered.fullmatch(said[0])} == {}
    assert {file: said for file, said in run.answers.items() if said[1] > ANSWER_S / 2} == {}
    assert not [file for file, (answer, _) in run.answers.items() if answer in ("status A700", "status 0110")]


def test_nothing_crashed_and_the_node_still_answers(run: Run) -> None:
    after = run.node.pids()

    assert run.echo
    for part in ("supervisor", "receiver", "worker", "page", "child of worker"):
        assert after[part] == run.before[part], part
    assert b'"ready":true' in run.node.get("/health/ready")


def test_the_receiver_stayed_small(run: Run) -> None:
    status = Path(f"/proc/{run.node.pids()['receiver']}/status").read_text(encoding="ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)

    assert peak is not None
    assert int(peak[1]) < 512 << 10


def test_what_must_be_rejected_is_rejected_and_what_must_be_stored_is_stored(run: Run) -> None:
    wrong = {}
    for file, expect in expected().items():
        answer = run.answers[file][0]
        stored = answer == SUCCESS
        if expect.startswith("store or reject"):
            continue
        if (expect.startswith("reject") and stored and file not in WELL_FORMED) or (
            expect.startswith("store") and not stored
        ):
            wrong[file] = (answer, expect)

    assert wrong == {}


def test_statuses_are_those_of_the_conformance_statement(run: Run) -> None:
    for name, status in (("no_class", "A900"), ("no_inst", "A900"), ("no_series", "A900")):
        assert run.answers[f"gen_clinical/{name}.dcm"][0] == f"status {status}"
    for file, (answer, _) in run.answers.items():
        if file.startswith(("gen_lengths/", "gen_nesting/")) and answer != SUCCESS:
            assert answer in ("status C000", "status A900"), file
        if file.startswith("gen_uid/") and answer not in (SUCCESS, "abort src2 r0"):
            assert answer in ("status 0117", "status A900", "status C002"), file


def test_another_object_under_a_known_uid_is_quarantined_and_the_first_one_kept(run: Run) -> None:
    first, pixels, patient = (
        run.answers[f"gen_conflict/same_uid_{name}.dcm"][0] for name in ("A", "B_other_pixels", "C_other_patient")
    )

    assert (first, pixels, patient) == (SUCCESS, CONFLICT, CONFLICT)
    with closing(run.node.records()) as records, records.read() as connection:
        uid = rawsend().meta((CORPUS / "gen_conflict" / "same_uid_A.dcm").read_bytes())[2].decode()
        known = instances.by_uid(connection, uid)
        assert known is not None
        reasons = instances.quarantined(connection, known.series_uid)
    assert any("other pixels" in reason for reason in reasons)
    assert any("another patient, study or series" in reason for reason in reasons)


def test_nothing_odd_is_processed_and_every_set_has_its_reasons(run: Run) -> None:
    assert run.node.jobs() == []
    assert not (run.folder / "delivered").exists()
    for one in run.node.sets():
        assert one["state"] == "unmatched"
        assert one["reasons"]["ct"], one["series_uid"]


def test_no_file_lies_outside_the_state_folder_and_every_name_is_ours(run: Run) -> None:
    assert {path.name for path in run.folder.iterdir()} == {"node.toml", "node.log", "state"}
    spool = run.node.settings.node.state / "spool"
    received = [path.relative_to(spool / "in") for path in (spool / "in").rglob("*") if path.is_file()]
    assert received
    for path in received:
        assert re.fullmatch(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.dcm", str(path))
    assert not list((spool / "aside").iterdir())
    assert not [path for path in (*spool.rglob("*"), run.folder) if path.is_symlink()]


def test_no_preamble_is_kept(run: Run) -> None:
    for path in (run.node.settings.node.state / "spool" / "in").rglob("*.dcm"):
        with path.open("rb") as file:
            assert file.read(132) == b"\0" * 128 + b"DICM"


def test_nothing_that_was_received_stands_in_log_or_metrics(run: Run) -> None:
    lines = run.node.log.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert isinstance(json.loads(line), dict), line
    said = "\n".join(lines) + run.node.metrics()
    for payload in (
        "<script",
        "<img",
        "javascript:",
        "orthanc.json",
        "DROP TABLE",
        "{{7",
        "\x1b",
        "/etc/passwd",
        "COLLISION",
    ):
        assert payload not in said
    assert "FUZZ" not in said
