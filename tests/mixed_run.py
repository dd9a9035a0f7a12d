"""A site where everything happens in half a minute, for tests of what monitoring shows.

A node with all of its processes and four of the pipelines that ship; a history of verdicts; series that are delivered,
held by a guard, wait for others of their study, or wait for a destination that is down; a triage whose RIS is told; a
certificate; a backup. Prometheus asks every second.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node import app
from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from node.records import sets
from node.records.database import Records
from node.settings import parse
from pipelines.volume import Volume
from tests import mr_series
from tests.authority import Authority
from tests.mllp_peer import MllpPeer, answers
from tests.peers import HOST, StoreScp, dcmsend, free_port, wait_until
from tests.prometheus_server import Prometheus
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for
from tests.verdicts import add_verdict

SCANNER: Final = "ct1"  # that the verdicts of before are of
HISTORY: Final = 410  # verdicts that are there before; drift of scores is spoken of from twice 200 on
SLICES: Final = 16
BEFORE: Final = "before-"
EXPECTED: Final = [
    ("ct-denoise", "delivered"),
    ("ct-denoise", "delivering"),
    ("ct-denoise", "held"),
    ("ct-kernel", "delivered"),
    ("head-ct-triage", "delivered"),
    ("mr-postcontrast", "held"),
]
_CT: Final = {"Modality": "CT"}
RULES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "denoise", "pipeline": "ct-denoise", "where": {**_CT, "ProtocolName": "DENOISE*"}},
    {"name": "both", "pipeline": "ct-denoise", "where": {**_CT, "ProtocolName": "MIRRORED"}},
    {
        "name": "kernel",
        "pipeline": "ct-kernel",
        "where": {**_CT, "ProtocolName": "KERNEL"},
        "parameters": {"target": "sharp"},
    },
    {"name": "head", "pipeline": "head-ct-triage", "where": {**_CT, "BodyPartExamined": "HEAD"}},
    {"name": "contrast", "pipeline": "mr-postcontrast", "where": {"Modality": "MR"}, "wait_s": 3.0},
)


@dataclass(frozen=True, kw_only=True)
class MixedRun:
    """The node, the peers around it, and what Prometheus heard since `began`, seconds since the epoch."""

    node: RunningNode
    archive: StoreScp
    mirror: StoreScp
    prometheus: Prometheus
    began: float


@contextmanager
def mixed_run(folder: Path, *, rule_files: Sequence[Path] = ()) -> Iterator[MixedRun]:
    """The site once all of it happened; the destination that is down still is.

    rule_files: of Prometheus, with durations that fit a run of seconds
    """
    signed = Authority(folder / "authority").sign("node")
    with ExitStack() as stack:
        ris = stack.enter_context(MllpPeer(answers("AA")))
        archive = stack.enter_context(StoreScp(folder / "archive", aet="ARCHIVE"))
        mirror = StoreScp(folder / "mirror", aet="MIRROR")  # down
        raw = settings_for(
            folder,
            destinations=[archive, mirror],
            receiver={
                "tls": {
                    "port": free_port(),
                    **{name: str(getattr(signed, name)) for name in ("certificate", "key", "ca")},
                }
            },
            assemble={"settle_s": 0.2, "quiet_s": 2.0},
        )
        raw["rules"] = [
            {**rule, "destinations": ["archive", "mirror"] if rule["name"] == "both" else ["archive"]} for rule in RULES
        ]
        raw["destinations"][0]["synthetic"] = True
        raw["worklist"] = {
            "scanners": [{"name": SCANNER, "where": {"StationName": "CT1"}}],
            "hl7": [{"name": "ris", "host": HOST, "port": ris.port, "receiving_application": "RIS"}],
        }
        _add_history(raw)
        began = time.time()
        node = stack.enter_context(RunningNode(folder, raw))
        ports = [node.settings.page.port]
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", ports=ports, rule_files=rule_files))
        _heard(prometheus)
        _everything(node, prometheus, folder / "scans")
        yield MixedRun(node=node, archive=archive, mirror=mirror, prometheus=prometheus, began=began)


def _everything(node: RunningNode, prometheus: Prometheus, folder: Path) -> None:
    whole = make_volume(slices=SLICES)
    for files in _series(folder, whole):
        _send(node, files)
    # Increases are counted from a first value: the guard that is to reject has passed something before.
    wait_until(f"a result left; {node.tail()}", lambda: _states(node).count(EXPECTED[0]) == 1, timeout_s=120)
    _heard(prometheus)
    spoilt = whole[:, 128:384, :256].copy()  # with air on one side, by which the guard knows the scale
    spoilt[SLICES // 2 :] += 25.0
    _send(node, _ct(folder, "held", spoilt, protocol="DENOISE"))
    status, said, wrong = cli("backup", "-c", node.file, "--to", folder / "backup")
    assert status == 0, said + wrong
    wait_until(f"all of it happened; {node.tail()}", lambda: _states(node) == EXPECTED, timeout_s=120, every_s=0.3)
    _heard(prometheus)


def _send(node: RunningNode, files: Sequence[Path]) -> None:
    (sent,) = dcmsend(node.port, files, called=AE_TITLE)
    assert sent.stored == len(files), sent.output


def _heard(prometheus: Prometheus) -> None:
    """Until Prometheus asked twice from now on."""
    enough = time.time() + 2.0
    wait_until("Prometheus asked twice", lambda: prometheus.instant(f"timestamp(up) > {enough}"))


def _states(node: RunningNode) -> list[tuple[str, str]]:
    return sorted((job["pipeline"], job["state"]) for job in node.jobs() if not job["id"].startswith(BEFORE))


def _series(folder: Path, whole: NDArray[np.float32]) -> Iterator[list[Path]]:
    """Each series that passes or waits, written as it is asked for."""
    plain = whole[:, 176:336, 176:336]
    yield _ct(folder, "delivered", plain, protocol="DENOISE")
    yield _ct(folder, "mirrored", plain, protocol="MIRRORED")
    yield _ct(folder, "kernel", plain, protocol="KERNEL", manufacturer="Philips", kernel="UB")
    yield _ct(folder, "head", plain, protocol="HEAD", body_part="HEAD")
    head = _mr_head()
    for role in ("t1", "flair", "t2"):
        scanned = mr_series.Scanned(key=f"mixed/{role}", study="mixed", role=role)
        yield mr_series.write_mr_series(folder / role, head[role], scanned)
    alone = mr_series.Scanned(key="alone/t2", study="alone", role="t2")
    yield mr_series.write_mr_series(folder / "alone", head["t2"], alone)


def _ct(folder: Path, key: str, voxels: NDArray[np.float32], **values: Any) -> list[Path]:
    scan = Scan(key=f"mixed run {key}", patient_name="NOBODY", patient_id="NOBODY", **values)
    return write_ct_series(folder / key, voxels, scan=scan, spacing_mm=(2.0, 0.8, 0.8), first_mm=(-64.0, -64.0, 0.0))


def _mr_head() -> dict[str, Volume]:
    """An egg with an inner part, as three sequences show it, on one grid."""
    shape, spacing_mm = np.array((16, 144, 144)), np.array((5.0, 1.2, 1.2))
    z, y, x = (np.indices(shape, np.float32) - shape.reshape(3, 1, 1, 1) / 2) * spacing_mm.reshape(3, 1, 1, 1)
    far = np.sqrt((z / 50) ** 2 + (y / 80) ** 2 + (x / 65) ** 2)
    inner = np.sqrt((z / 20) ** 2 + (y / 25) ** 2 + ((x - 10) / 15) ** 2) < 1
    noise = np.random.default_rng(1).normal(0, 8, shape).astype(np.float32)
    affine = np.array([[0, 0, 1.2, -86.4], [0, 1.2, 0, -86.4], [5.0, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    levels = {"t1": (600, 300), "t2": (500, 1200), "flair": (500, 150)}
    return {
        role: Volume(
            voxels=(np.where(far < 1, np.where(inner, deep, brain), 0) + noise).astype(np.float32),
            affine=affine,
            unit="MR",
        )
        for role, (brain, deep) in levels.items()
    }


def _add_history(raw: dict[str, Any]) -> None:
    """Verdicts of weeks, so that there is something to compare with."""
    settings = parse(raw, source="the test")
    app.prepare_state(settings)
    rng, now = np.random.default_rng(3), time.time()
    with closing(Records(settings.node.state.absolute())) as records, records.write() as connection:
        for number in range(HISTORY):
            share = float(rng.random())
            flag = "FLAG_RAISED" if share > 0.9 else "FLAG_NOT_RAISED"
            at = now - 3600.0 * (HISTORY - number)
            times = {"arrived_at": at, "decided_at": at + 20.0, "scanner": SCANNER}
            add_verdict(connection, f"{BEFORE}{number}", flag, score=share, percentile=share, **times)
            sets.started(connection, f"set-{BEFORE}{number}", 1)  # else the node would make them anew
