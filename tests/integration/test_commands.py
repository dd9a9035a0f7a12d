"""The commands against one real run: what they say, as text and as JSON, and their exit statuses."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from node.demo.phantom import make_series
from tests.peers import StoreScp, dcmsend, free_port
from tests.running_node import AE_TITLE, RULE, RunningNode, cli, settings_for, write_toml

SLICES = 5
RULES = (RULE, {"name": "head", "pipeline": "ct-denoise", "where": {"BodyPartExamined": "HEAD"}})


@dataclass(frozen=True, kw_only=True)
class Run:
    """A node that has delivered one series and holds another of two slices, which nothing matches."""

    node: RunningNode
    storescp: StoreScp
    delivered: str  # Series Instance UID of the phantom
    unmatched: str


def series_uid(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    whole = make_series(folder / "whole", slices=SLICES)
    short = make_series(folder / "short", slices=3, seed=1)[:2]
    with StoreScp(folder / "storescp") as storescp:
        raw = settings_for(folder, destinations=[storescp], rules=RULES, assemble={"quiet_s": 2.0})
        with RunningNode(folder, raw) as node:
            for files in (whole, short):
                dcmsend(node.port, files, called=AE_TITLE)
            node.wait_settled(2)
            yield Run(node=node, storescp=storescp, delivered=series_uid(whole), unmatched=series_uid(short))


def test_check_is_green_while_everything_is_there(run: Run) -> None:
    status, said, trouble = cli("check", "-c", run.node.file)

    assert (status, trouble) == (0, "")
    assert "NO" not in [line[:2] for line in said.splitlines()]
    for what in (
        "settings:",
        "disk:",
        "engine ct_denoise:",
        "receiver:",
        "destination storescp:",
        "licences:",
        "clock:",
    ):
        assert what in said, said
    assert f"listening on port {run.node.port} as {AE_TITLE}" in said


def test_check_says_which_destination_is_down_and_fails(run: Run, tmp_path: Path) -> None:
    raw = settings_for(tmp_path, destinations=[run.storescp])
    raw["destinations"][0]["port"] = free_port()

    status, said, _ = cli("check", "-c", write_toml(tmp_path / "node.toml", raw), "--json")

    assert status == 1
    bad = [line for line in json.loads(said)["lines"] if line["good"] is False]
    assert [line["what"] for line in bad] == ["destination storescp"]
    assert "C-ECHO: no connection" in bad[0]["text"]
    assert "Check host and port" in bad[0]["text"]


def test_the_health_check_asks_this_machine_only(run: Run, tmp_path: Path) -> None:
    """A PACS that is down is no reason to restart the node; a node that does not serve is."""
    raw = settings_for(tmp_path, destinations=[run.storescp])
    raw["destinations"][0]["port"] = free_port()
    raw["node"]["state"] = str(run.node.settings.node.state)
    status, said, trouble = cli("check", "--local", "-c", write_toml(tmp_path / "other.toml", raw))
    assert (status, trouble) == (0, "")
    assert "parts: all of them serve" in said
    assert "storescp" not in said

    raw["node"]["state"] = str(tmp_path / "nobody")
    status, said, _ = cli("check", "--local", "-c", write_toml(tmp_path / "nobody.toml", raw), "--json")
    bad = {line["what"] for line in json.loads(said)["lines"] if line["good"] is False}
    assert (status, bad) == (1, {"parts"})

    with RunningNode(tmp_path, settings_for(tmp_path)) as node:
        pass
    status, said, _ = cli("check", "--local", "-c", node.file, "--json")
    bad = {line["what"] for line in json.loads(said)["lines"] if line["good"] is False}
    assert (status, bad) == (1, {"receiver", "worker", "page"})


def test_jobs_lists_what_was_made(run: Run) -> None:
    status, said, _ = cli("jobs", "-c", run.node.file)
    assert status == 0
    assert "ct-denoise" in said
    assert "delivered" in said

    status, said, _ = cli("jobs", "-c", run.node.file, "--json")
    (job,) = json.loads(said)["jobs"]
    assert status == 0
    assert (job["state"], job["source_series_uid"], job["rule"]) == ("delivered", run.delivered, "ct")
    assert set(job["seconds"]) >= {"prepare", "infer", "check", "derive"}


def test_show_tells_the_whole_story_of_a_delivered_series(run: Run) -> None:
    status, said, _ = cli("show", "-c", run.node.file, run.delivered)
    assert status == 0
    for words in (
        f"Series {run.delivered}", "complete because associations released", "rule ct: matched",
        "rule head: did not match", "BodyPartExamined is 'ABDOMEN' in 5 of 5 slices; wanted 'HEAD'",
        "AI DENOISED", "passed", "to storescp: delivered, 5 of 5 confirmed",
    ):  # fmt: skip
        assert words in said, said

    status, said, _ = cli("show", "-c", run.node.file, run.delivered, "--json")
    found = json.loads(said)
    (one,) = found["sets"]
    assert (found["instances"], one["instances"], one["state"]) == (SLICES, SLICES, "routed")
    assert one["jobs"][0]["destinations"][0]["confirmed"] == SLICES
    assert len(run.storescp.files()) == SLICES

    status, by_job, _ = cli("show", "-c", run.node.file, one["jobs"][0]["id"][:12], "--json")
    assert json.loads(by_job) == found


def test_show_names_rule_by_rule_why_nothing_matched(run: Run) -> None:
    status, said, _ = cli("show", "-c", run.node.file, run.unmatched)
    assert status == 0
    assert "complete because nothing came for 2 s" in said
    assert said.count("did not match") == 2
    assert said.count("- 2 slice(s); the network takes 3 or more") == 2

    _, said, _ = cli("show", "-c", run.node.file, run.unmatched, "--json")
    (one,) = json.loads(said)["sets"]
    assert (one["state"], one["jobs"]) == ("unmatched", [])
    assert set(one["rules"]) == {"ct", "head"}


def test_what_is_unknown_is_an_error_with_one_line(run: Run) -> None:
    for command in ("show", "replay"):
        status, said, trouble = cli(command, "-c", run.node.file, "1.2.3.4")
        assert (status, said) == (2, "")
        assert trouble == "imaging-node: The records know no series or job '1.2.3.4'. See `imaging-node jobs`.\n"


def test_a_delivered_result_is_not_replayed(run: Run) -> None:
    status, said, trouble = cli("replay", "-c", run.node.file, run.delivered)

    assert (status, said) == (2, "")
    assert trouble == "imaging-node: Nothing of it failed or was held. A delivered result is never made twice.\n"


def test_replay_of_an_unmatched_series_routes_it_anew(run: Run) -> None:
    status, said, _ = cli("replay", "-c", run.node.file, run.unmatched, "--json")

    assert status == 0
    assert json.loads(said) == {"asked": ["version 1 of the series, from routing on"]}
    run.node.wait_settled(2)
    assert run.node.show(run.unmatched)["sets"][0]["state"] == "unmatched"


def test_commands_before_the_first_start_say_what_to_do(tmp_path: Path) -> None:
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path))

    status, said, trouble = cli("jobs", "-c", file)

    assert (status, said) == (2, "")
    assert "There are no records in" in trouble
    assert "Start the node once with `imaging-node run`." in trouble


def test_process_names_what_it_did_not_take_and_takes_the_rest(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "deep", slices=3)
    (tmp_path / "in" / "notes.txt").write_text("no image")

    status, said, trouble = cli("process", tmp_path / "in", "--to", tmp_path / "out", "--json")

    assert status == 0, trouble
    found = json.loads(said)
    assert (found["received"], found["delivered"]) == (3, 3)
    assert set(found["refused"]) == {"notes.txt"}
    assert "no DICOM Part 10 file" in found["refused"]["notes.txt"]
    (series,) = found["series"]
    made = sorted((tmp_path / "out" / series["series_uid"]).iterdir())
    assert {str(pydicom.dcmread(path).SeriesInstanceUID) for path in made} == {series["series_uid"]}
    assert len(made) == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == [series["series_uid"]]  # and no state is left


def test_process_that_makes_nothing_fails_and_says_why(tmp_path: Path) -> None:
    files = make_series(tmp_path / "in", slices=3)
    files[0].unlink()

    status, said, _ = cli("process", tmp_path / "in", "--to", tmp_path / "out")

    assert status == 1
    assert "2 slice(s); the network takes 3 or more" in said


def test_process_of_nothing_is_a_fault_of_the_call(tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "none",),
        (tmp_path, "--pipeline", "nonsense"),
        (tmp_path, "--pipeline", "ct-kernel"),
        (tmp_path, "--pipeline", "ct-kernel", "--set", "target"),
        (tmp_path, "--set", "target=soft"),
    ):
        status, said, trouble = cli("process", *arguments, "--to", tmp_path / "out")
        assert (status, said) == (2, "")
        assert trouble.splitlines()[-1].startswith("imaging-node: ")


def test_demo_prints_one_object_and_paints_a_picture(tmp_path: Path) -> None:
    status, said, trouble = cli("demo", "--json", "--slices", "6", "--out", tmp_path / "demo")

    assert status == 0, trouble
    found = json.loads(said)
    assert found.keys() >= {"received", "delivered", "seconds_last_in_to_first_out", "series", "picture"}
    assert (found["received"], found["delivered"]) == (6, 6)
    assert 0 < found["seconds_last_in_to_first_out"] < 60
    (series,) = found["series"]
    assert "AI DENOISED" in series["description"]
    assert series["instances"] == 6
    with Image.open(found["picture"]) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 300
    shutil.rmtree(tmp_path / "demo")
