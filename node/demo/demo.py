"""`imaging-node demo`: the whole node on this machine, once, with a phantom; no server to install.

A phantom scanner sends its series through a real association to a node that runs as its three processes; the node
delivers to a small archive in this process, and a picture shows what came back.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.commands.run import alive
from node.demo import scanner
from node.demo.archive import Archive
from node.demo.phantom import make_series
from node.demo.picture import compare_picture
from node.errors import NodeError
from node.settings import Settings, load
from node.spool import output_folder

_WINDOW: Final = (40.0, 300.0)  # abdomen: centre and width, HU
_PATIENCE_S: Final = 240.0


class DemoFailed(NodeError):
    """The demo did not come to its end."""


def demo(out: Path, *, slices: int, say: Callable[[str, float], None]) -> dict[str, Any]:
    """Run it; files stay in `out`. Returns what `demo --json` prints.

    say: (what is happening, fraction done)
    """
    output_folder(out)
    say("making a phantom series", 0.02)
    scan = make_series(out / "scan", slices=slices)
    with tempfile.TemporaryDirectory(prefix="imaging-node-demo-") as state, Archive(out / "archive") as archive:
        settings_file = _settings(Path(state), archive.port)
        settings = load(settings_file)
        command = [sys.executable, "-m", "node", "run", "-c", str(settings_file)]
        with (Path(state) / "node.log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)  # noqa: S603  our own interpreter
        try:
            say("starting the node", 0.1)
            address = scanner.address("127.0.0.1", _wait_for_port(settings, process), called="IMAGING-NODE")
            say(f"sending {len(scan)} slices", 0.2)
            scanner.send(address, scan)
            last_in = time.time()
            _wait(archive, len(scan), process, say)
            metrics = _metrics(settings)
        finally:
            process.terminate()
            process.wait(20)
    first = min(archive.arrived.values())
    return _result(out, scan, archive, seconds=first - last_in, metrics=metrics)


def _settings(state: Path, archive_port: int) -> Path:
    path = state / "node.toml"
    path.write_text(
        f"""
[node]
state = {json.dumps(str(state / "state"))}
disk_reserve_mb = 0

[receiver]
ae_title = "IMAGING-NODE"
host = "127.0.0.1"
port = 0

[[peers]]
name = "scanner"
ae_title = "PHANTOM-CT"
addresses = ["127.0.0.1"]

[[destinations]]
kind = "dicom"
name = "archive"
ae_title = "{Archive.AE_TITLE}"
host = "127.0.0.1"
port = {archive_port}

[[rules]]
name = "low-dose-ct"
pipeline = "ct-denoise"
destinations = ["archive"]
where = {{ Modality = "CT", ImageType = {{ not = "LOCALIZER" }} }}

[page]
port = 0
""",
        encoding="utf-8",
    )
    return path


def _wait_for_port(settings: Settings, process: subprocess.Popen[bytes]) -> int:
    until = time.monotonic() + 60.0
    pause = threading.Event()
    while not (alive(settings, "receiver") and alive(settings, "worker") and alive(settings, "page")):
        if process.poll() is not None or time.monotonic() > until:
            raise DemoFailed("The node did not start.", fix="Run `imaging-node check` and see its log.")
        pause.wait(0.1)
    return int(alive(settings, "receiver")["port"])


def _wait(archive: Archive, wanted: int, process: subprocess.Popen[bytes], say: Callable[[str, float], None]) -> None:
    until = time.monotonic() + _PATIENCE_S
    pause = threading.Event()
    while len(archive.arrived) < wanted:
        if process.poll() is not None or time.monotonic() > until:
            raise DemoFailed(f"{len(archive.arrived)} of {wanted} derived slices arrived.", fix="See node.log.")
        say("waiting for the derived series" if not archive.arrived else "receiving the derived series",
            0.3 + 0.65 * len(archive.arrived) / wanted)  # fmt: skip
        pause.wait(0.1)


def _metrics(settings: Settings) -> dict[str, float]:
    """Seconds per stage, as the node's own metrics page says."""
    url = f"http://127.0.0.1:{alive(settings, 'page').get('port', 0)}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=5.0) as page:
            lines = page.read().decode().splitlines()
    except (urllib.error.URLError, OSError) as error:
        raise DemoFailed(f"The metrics page did not answer: {type(error).__name__}.") from error
    prefix = 'imaging_node_stage_seconds_sum{stage="'
    return {line[len(prefix) :].split('"')[0]: float(line.split()[-1]) for line in lines if line.startswith(prefix)}


def _result(
    out: Path, scan: list[Path], archive: Archive, *, seconds: float, metrics: dict[str, float]
) -> dict[str, Any]:
    derived = sorted((dcmread(path) for path in archive.files()), key=lambda d: int(d.InstanceNumber))
    middle = derived[len(derived) // 2]
    source_uid = middle.SourceImageSequence[0].ReferencedSOPInstanceUID
    original = next(d for path in scan if (d := dcmread(path)).SOPInstanceUID == source_uid)
    picture = out / "before-after.png"
    compare_picture(
        _hounsfield(original),
        _hounsfield(middle),
        picture,
        window=_WINDOW,
        title=str(middle.SeriesDescription),
        subtitle=f"{len(derived)} slices, {seconds:.1f} s from the last slice in to the first derived slice out",
    )
    series: dict[str, Dataset] = {str(d.SeriesInstanceUID): d for d in derived}
    return {
        "received": len(scan),
        "delivered": len(derived),
        "seconds_last_in_to_first_out": round(seconds, 3),
        "series": [
            {
                "series_instance_uid": uid,
                "study_instance_uid": str(d.StudyInstanceUID),
                "source_series_instance_uid": str(d.ReferencedSeriesSequence[0].SeriesInstanceUID),
                "description": str(d.SeriesDescription),
                "series_number": int(d.SeriesNumber),
                "image_type": list(d.ImageType),
                "instances": sum(1 for other in derived if other.SeriesInstanceUID == uid),
            }
            for uid, d in series.items()
        ],
        "picture": str(picture),
        "folder": str(out / "archive"),
        "seconds_by_stage": {stage: round(value, 3) for stage, value in metrics.items()},
    }


def _hounsfield(image: Dataset) -> NDArray[np.float32]:
    stored = image.pixel_array.astype(np.float32)
    hu: NDArray[np.float32] = stored * float(image.RescaleSlope) + float(image.RescaleIntercept)
    return hu
