"""Work ahead of completeness changes when something is made, and nothing of what is made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from node.commands import look
from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from node.metrics import METRICS
from node.records.states import Ending
from node.settings import parse
from node.worker import Worker
from tests.other_engine import other_engine
from tests.peers import wait_until
from tests.running_node import settings_for
from tests.series import with_header
from tests.site import Site, site

SLICES = 20  # more than one chunk of early writing
KERNEL = {"name": "soft-to-sharp", "pipeline": "ct-kernel", "parameters": {"target": "sharp"}}


def series(folder: Path, *, key: str = "one", kernel: str = "SOFT", maker: str = "PHANTOM") -> list[Path]:
    """A small abdomen: 160 by 160 pixels run through the network in a moment."""
    voxels = make_volume(slices=SLICES, seed=len(key))[:, 176:336, 176:336]
    scan = Scan(key=key, patient_name="A^B", patient_id="B", kernel=kernel, manufacturer=maker)
    return write_ct_series(folder, voxels, scan=scan, spacing_mm=(2.0, 0.8, 0.8), first_mm=(-64.0, -64.0, 0.0))


def count(what: str) -> float:
    return float(METRICS.eager_slices.labels(what=what)._value.get())


def without_eager(folder: Path, files: Mapping[str, Sequence[Path]], jobs: int, **changes: Any) -> Site:
    """The same series through a node that works on complete ones only."""
    engines = {"eager": False, **changes.pop("engines", {})}
    with site(folder, engines=engines, **changes) as plain:
        for key, some in files.items():
            plain.opened(key)
            plain.receive(some, key)
            plain.closed(key)
        before = count("made")
        with Worker(plain.settings) as worker:
            plain.until_settled(worker, jobs)
        assert count("made") == before
        return plain


def test_two_interleaved_series_made_ahead_are_those_made_afterwards(tmp_path: Path) -> None:
    files = {key: series(tmp_path / key, key=key) for key in ("one", "another")}
    expected = without_eager(tmp_path / "plain", files, 2).objects()
    made, used = count("made"), count("used")

    with site(tmp_path / "eager") as node:
        for key in files:
            node.opened(key)
        with Worker(node.settings) as worker:
            for one, another in zip(*(some[:-2] for some in files.values()), strict=True):
                node.receive([one], "one")
                node.receive([another], "another")
            wait_until("all is made ahead", lambda: count("made") - made == 2 * (SLICES - 2), timeout_s=60)
            worker.tick()
            assert node.jobs() == [], "nothing is complete"
            assert not node.delivered.exists(), "nothing leaves before it is"
            for key, some in files.items():
                node.receive(some[-2:], key)
                node.closed(key)
            node.until_settled(worker, 2)
            wait_until("nothing is left", lambda: node.ahead == [], timeout_s=10)

        assert {job["state"] for job in node.jobs()} == {"delivered"}
        assert count("used") - used >= 2 * (SLICES - 2)
        assert len(expected) == 2 * SLICES
        assert node.objects() == expected
        said_of = {(e["SeriesInstanceUID"], e["SeriesNumber"], e["SeriesDescription"]) for e in expected.values()}
        assert len(said_of) == 2, "what is written in ranges says one thing of each series"
        shown = look.show(node.records, node.jobs()[0]["source_series_uid"])
        (said,) = [e for e in shown["sets"][0]["jobs"][0]["events"] if e["kind"] == "ahead"]
        assert said["detail"]["slices"] >= SLICES - 2


def test_two_pipelines_on_one_series_do_not_take_each_others_slices(tmp_path: Path) -> None:
    files = {"one": series(tmp_path / "scan", kernel="UB", maker="Philips")}
    rules = ({"name": "ct", "pipeline": "ct-denoise"}, KERNEL)
    expected = without_eager(tmp_path / "plain", files, 2, rules=rules)
    made, used = count("made"), count("used")

    with site(tmp_path / "eager", rules=rules) as node:
        node.opened("one")
        node.receive(files["one"], "one")
        with Worker(node.settings) as worker:
            wait_until("all is made ahead", lambda: count("made") - made == 2 * SLICES, timeout_s=120)
            node.closed("one")
            node.until_settled(worker, 2)
        states = {job["pipeline"]: (job["state"], job["reason"]) for job in node.jobs()}
        assert states == {job["pipeline"]: (job["state"], job["reason"]) for job in expected.jobs()}
        assert "delivered" in {state for state, _ in states.values()}
        assert count("used") - used == 2 * SLICES
        assert node.objects() == expected.objects()


def test_a_series_that_turns_out_ineligible_leaves_nothing(tmp_path: Path) -> None:
    files = series(tmp_path / "scan")
    made = count("made")
    last = with_header(files[-1], tmp_path / "last.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])

    with site(tmp_path / "node") as node:
        node.opened("one")
        node.receive(files[:-1], "one")
        with Worker(node.settings) as worker:
            wait_until("all is made ahead", lambda: count("made") - made == SLICES - 1, timeout_s=60)
            assert node.ahead
            node.receive([last], "one")
            node.closed("one")
            wait_until("nothing is left", lambda: worker.tick() or node.ahead == [], timeout_s=20)
        assert node.jobs() == []


def test_another_network_makes_every_slice_again(tmp_path: Path) -> None:
    files = series(tmp_path / "scan")
    made, used = count("made"), count("used")
    engines = tmp_path / "engines"
    other_engine(engines, trained_again=True)

    with site(tmp_path / "node") as node:
        node.opened("one")
        node.receive(files, "one")
        with Worker(node.settings):
            wait_until("all is made ahead", lambda: count("made") - made == SLICES, timeout_s=60)
        node.closed("one")
        changed = settings_for(tmp_path / "node", engines={"folder": str(engines), "eager": True})
        with Worker(parse(changed, source="the test")) as worker:
            node.until_settled(worker, 1)
        (job,) = node.jobs()
        assert job["state"] == "delivered"
        assert count("used") - used <= count("made") - made - SLICES, "only what the second worker made ahead itself"


@pytest.mark.parametrize("ending", [Ending.ABORTED, Ending.LOST])
def test_an_aborted_association_is_waited_for_with_what_is_made(tmp_path: Path, ending: Ending) -> None:
    files = series(tmp_path / "scan")
    expected = without_eager(tmp_path / "plain", {"one": files}, 1).objects()
    made, used = count("made"), count("used")

    with site(tmp_path / "eager") as node, Worker(node.settings) as worker:
        node.opened("broken")
        node.receive(files[:12], "broken")
        node.closed("broken", ending)
        wait_until("all is made ahead", lambda: count("made") - made == 12, timeout_s=60)
        for _ in range(5):
            worker.tick()
        assert node.jobs() == []
        node.opened("again")
        node.receive(files[12:], "again")
        node.closed("again")
        node.until_settled(worker, 1)
        assert count("used") - used >= 12
        assert node.objects() == expected
