"""A node under Debian's Prometheus and Alertmanager with the site's rules: each fault rings its own alert, once, and it
ends when the fault is mended.

The rules are those of deploy/prometheus, with hours made seconds (`tests/scaled_rules.py`).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml

from node.demo.ct_series import uid
from node.demo.phantom import make_series
from tests import scaled_rules
from tests.alertmanager_server import SETTINGS, Alertmanager
from tests.other_engine import other_engine
from tests.peers import HOST, StoreScp, dcmsend, wait_until
from tests.prometheus_server import Prometheus
from tests.running_node import AE_TITLE, RunningNode, _children, settings_for
from tests.series import with_header
from tests.urgent_case import write_series

ENGINE: Final = "ct_denoise"
RULES: Final = (
    {"name": "denoise", "pipeline": "ct-denoise", "where": {"BodyPartExamined": "ABDOMEN"}},
    {"name": "head", "pipeline": "head-ct-triage", "where": {"BodyPartExamined": "HEAD"}},
)
LOW: Final = 1.5  # times the reserve: below it ImagingNodeDiskLow


@dataclass(frozen=True, kw_only=True)
class Site:
    """The node, where it delivers to, and who watches it. `spare`: bytes that are free above those that are low"""

    folder: Path
    node: RunningNode
    archive: StoreScp
    prometheus: Prometheus
    alertmanager: Alertmanager
    spare: int

    def send(self, files: list[Path]) -> None:
        assert all(one.stored for one in dcmsend(self.node.port, files, called=AE_TITLE))

    def ringing(self) -> set[str]:
        return {one["alertname"] for one in self.alertmanager.ringing()}

    def expect(self, *alerts: str, timeout_s: float = 60.0) -> None:
        """Wait until something fires, or nothing does any more; it is these and no others, also a moment later."""
        wanted = set(alerts)
        wait_until(
            f"{wanted or 'nothing'} fires and nothing else; now {self.prometheus.firing()}",
            lambda: self.prometheus.firing() == wanted and self.ringing() == wanted,
            timeout_s=timeout_s,
            every_s=0.2,
        )
        if wanted:
            time.sleep(1.2)  # one more look at everything
            assert self.prometheus.firing() == wanted
            assert self.ringing() == wanted


def watch(folder: Path, *, node: int, alertmanager: int) -> Prometheus:
    """Prometheus with the settings of deploy/prometheus, asking every second; `node`, `alertmanager`: their ports."""
    made = Prometheus(folder, ports=[])
    settings = yaml.safe_load((scaled_rules.RULES.parent / "prometheus.yml").read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    made.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")
    scaled_rules.scaled(folder / "rules")
    chosen = {"turnaround_limit_seconds": "vector(3600)", "working_hours": "vector(0)"}  # what this site chooses
    rules = [{"record": f"imaging_node:{name}", "expr": value} for name, value in chosen.items()]
    own = {"groups": [{"name": "site", "rules": rules}]}
    (folder / "rules" / scaled_rules.SITE).write_text(yaml.safe_dump(own), encoding="utf-8")
    (folder / "targets").mkdir()
    for name, port in (("imaging-node", node), ("alertmanager", alertmanager)):
        targets = [{"targets": [f"{HOST}:{port}"]}]
        (folder / "targets" / f"{name}.yml").write_text(yaml.safe_dump(targets), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("watched")
    other_engine(folder / "engines")
    free = shutil.disk_usage(folder).free
    spare = min(2 << 30, free // 8)
    with ExitStack() as stack:
        archive = stack.enter_context(StoreScp(folder / "archive"))
        raw = settings_for(folder, destinations=[archive], rules=RULES)
        raw["engines"] = {"folder": str(folder / "engines")}
        raw["node"]["disk_reserve_mb"] = int((free - spare) / LOW) >> 20
        alertmanager = stack.enter_context(Alertmanager(folder / "alertmanager"))
        node = stack.enter_context(RunningNode(folder, raw))
        prometheus = stack.enter_context(
            watch(folder / "prometheus", node=node.settings.page.port, alertmanager=alertmanager.port)
        )
        yield Site(
            folder=folder,
            node=node,
            archive=archive,
            prometheus=prometheus,
            alertmanager=alertmanager,
            spare=spare,
        )


def abdomen(folder: Path, seed: int, **header: object) -> list[Path]:
    files = make_series(folder / "whole", slices=4, seed=seed)
    return [with_header(path, folder / path.name, BodyPartExamined="ABDOMEN", **header) for path in files]


def test_nothing_rings_at_a_site_that_works(site: Site, tmp_path: Path) -> None:
    site.send(abdomen(tmp_path, seed=1))
    site.node.wait_settled(1)
    scraped = "imaging_node_series_delivered_total{modality='CT',pipeline='ct-denoise'}"
    wait_until("it was seen", lambda: [rows[0][1] for _, rows in site.prometheus.instant(scraped)] == [1.0])

    site.expect()


def test_engine_missing(site: Site) -> None:
    weights = site.folder / "engines" / "weights" / f"{ENGINE}.onnx"
    aside = weights.with_name("aside")
    weights.rename(aside)
    site.expect("ImagingNodeEngineMissing")
    (alert,) = site.prometheus.get("alerts")["data"]["alerts"]
    assert alert["annotations"]["summary"].endswith(f": engine {ENGINE} is missing or wrong")

    aside.rename(weights)
    site.expect()


def test_disk_low(site: Site) -> None:
    filler = site.folder / "filler"
    done = subprocess.run(["fallocate", "-l", str(2 * site.spare), filler], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the file system of the test's folder has no fallocate")
    site.expect("ImagingNodeDiskLow")

    filler.unlink()
    site.expect()


def test_destination_down(site: Site, tmp_path: Path) -> None:
    before = len(site.archive.files())
    site.archive.stop()
    site.send(abdomen(tmp_path, seed=2))
    site.expect("ImagingNodeDestinationDown")

    site.archive.start()
    wait_until("it has come", lambda: len(site.archive.files()) == before + 4)
    site.expect()


def test_triage_late(site: Site, tmp_path: Path) -> None:
    children = _children(site.node.pids()["worker"])
    assert children
    for child in children:  # what decodes hangs; the worker itself is well
        os.kill(child, signal.SIGSTOP)
    try:
        site.send(write_series(tmp_path, "late", part="HEAD"))
        site.expect("ImagingNodeTriageLate")
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)
    site.expect()


def test_guard_rejecting(site: Site, tmp_path: Path) -> None:
    files = []
    for number in range(3):  # the pixels are said to be larger than the field of view allows
        names = {"SeriesInstanceUID": uid("rejected", str(number)), "ReconstructionDiameter": 123.0}
        for path in make_series(tmp_path / "whole", slices=4, seed=1):
            out = tmp_path / f"{number}" / path.name
            named = uid("rejected", str(number), path.name)
            files.append(with_header(path, out, BodyPartExamined="ABDOMEN", SOPInstanceUID=named, **names))
    site.send(files)
    site.expect("ImagingNodeGuardRejecting")
    held = [job for job in site.node.jobs() if job["state"] == "held"]
    assert len(held) == 3

    site.expect()  # six hours without another one, here 20 s: what was held waits for a person by itself


def test_one_fault_rings_once(site: Site) -> None:
    """Every inhibition of the site's Alertmanager, by alerts of nodes that do not exist."""
    alerts, quiet, loud = [], [], []
    for number, rule in enumerate(yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["inhibit_rules"]):
        (source,) = rule["source_matchers"]
        if not source.startswith("alertname"):
            continue
        names = _named(source)
        inhibited = [name for matcher in rule["target_matchers"][:1] for name in _named(matcher)]
        for cause in names:
            here = {"instance": f"rule-{number}-{cause}", "pipeline": "p", "severity": "test"}
            alerts.append({"alertname": cause, **here})
            for name in inhibited:
                quiet.append({"alertname": name, **here})
                loud.append({"alertname": name, **here, "instance": f"other-{number}-{cause}-{name}"})
    assert quiet
    site.alertmanager.tell([*alerts, *quiet, *loud])

    def all_loud() -> bool:
        ringing = site.alertmanager.ringing()
        return all(one in ringing for one in [*alerts, *loud])

    wait_until("the others ring", all_loud)
    ringing = site.alertmanager.ringing()
    assert [one for one in quiet if one in ringing] == []


def _named(matcher: str) -> list[str]:
    """The alerts that a matcher of ours names: one, or a list of endings."""
    name = matcher.split('"')[1]
    before, opened, rest = name.partition("(")
    if opened:
        return [before + ending for ending in rest.rstrip(")").split("|")]
    return ["ImagingNodeDiskLow"] if name == "ImagingNode.+" else [name]
