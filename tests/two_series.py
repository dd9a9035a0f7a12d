"""A pipeline of two series with a tiny network, and a node that runs it: the mean of both, slice by slice.

    python -m tests.two_series SETTINGS.toml        the worker of such a node, until SIGTERM

No shipped pipeline takes several series yet; this one shows that the node can gather them. It exists in tests only.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.parity import record
from node import app
from node.commands import look
from node.commands.run import alive
from node.demo.ct_series import Scan, write_ct_series
from node.errors import BadSetting
from node.log import configure
from node.records.database import Records
from node.settings import Settings, load, parse
from node.worker import Worker
from pipelines.match import Condition
from pipelines.pipeline import Images, Parameters, Pipeline, Requires, Role, Tiles
from pipelines.steps.checks import finite, geometry_equal
from tests import small_engines
from tests.peers import wait_until
from tests.running_node import settings_for, write_toml

_INPUT = """[[inputs]]
name = "hu"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "HU"
multiple_of = {{ y = 8, x = 8 }}
"""
SPEC = small_engines.SPEC.replace(_INPUT, _INPUT.replace('"hu"', '"early"') + "\n" + _INPUT.replace('"hu"', '"late"'))

TAKES = Requires(
    modality="CT",
    minimum_slices=3,
    pixel_spacing_mm=(0.3, 3.0),
    slice_thickness_mm=(0.4, 6.0),
    kvp=(70.0, 150.0),
    tilt_deg_max=0.5,
    rows=(16, 128),
    columns=(16, 256),
)


def _feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
    late = parameters.others.get("late", image[None])
    return {"early": image[None, None], "late": late[None]}


def pipeline(name: str, *, late_is_needed: bool) -> Pipeline:
    """The mean of an early and a late series; without the late one, where it can do without, the early one."""
    return Pipeline(
        name=name,
        version="1.0.0",
        takes=TAKES,
        roles={
            "early": Role(takes=TAKES, where={"SeriesDescription": Condition.model_validate("*EARLY*")}),
            "late": Role(
                takes=TAKES,
                where={"SeriesDescription": Condition.model_validate("*LATE*")},
                required=late_is_needed,
            ),
        },
        grid="early",
        engine="mean",
        feed="early",
        output="made",
        feeds=_feeds,
        keep_outside=(-1024.0, 3071.0),
        tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
        checks=(finite(), geometry_equal()),
        gives=Images(kind="DN", marker="AI MEAN", operation="Mean of two series"),
    )


PIPELINES = (pipeline("mean-of-two", late_is_needed=True), pipeline("mean-if-two", late_is_needed=False))


def install_engine(folder: Path) -> Path:
    """A folder of engines with the network in it."""
    half = numpy_helper.from_array(np.full((1, 1, 1, 1), 0.5, np.float32), "half")
    shape = ("n", 1, "y", "x")
    graph = helper.make_graph(
        [helper.make_node("Add", ["early", "late"], ["sum"]), helper.make_node("Mul", ["sum", "half"], ["made"])],
        "mean",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("early", "late")],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, shape)],
        [half],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    record(small_engines.install(folder, "mean", model, spec=SPEC), threads=1)
    return folder


def write_series(
    folder: Path,
    *,
    study: str,
    role: str,
    hu: float,
    key: str = "",
    patient: str = "NOBODY",
    hour: int = 9,
    protocol: str = "HOLD",
    slices: int = 5,
    first_z_mm: float = 0.0,
) -> list[Path]:
    """A series of one value, with a slope so that slices differ."""
    scan = Scan(
        key=f"{study}/{role}/{key}/{patient}",
        study_key=study,
        patient_name=f"TEST^{patient}",
        patient_id=patient,
        series_description=f"TEST {role.upper()}",
        protocol=protocol,
        series_number=2 + hour,
        started=Scan.__dataclass_fields__["started"].default.replace(hour=hour),
    )
    voxels = np.full((slices, 64, 64), hu, np.float32) + 10 * np.arange(slices, dtype=np.float32)[:, None, None]
    return write_ct_series(folder, voxels, scan=scan, spacing_mm=(2.0, 1.0, 1.0), first_mm=(0.0, 0.0, first_z_mm))


class StudyNode:
    """A receiver and a worker with the pipelines above, as processes.

    worker:  module that runs the worker of the settings file that it is given
    install: what lays the engines of its pipelines into a folder
    """

    worker = "tests.two_series"
    install = staticmethod(install_engine)

    def __init__(self, folder: Path, rules: Sequence[Mapping[str, Any]], **parts: Mapping[str, Any]) -> None:
        engines = {"folder": str(self.install(folder / "engines")), "threads": 1}
        self.settle(folder, settings_for(folder, rules=rules, engines=engines, **parts))

    def settle(self, folder: Path, raw: Mapping[str, Any]) -> None:
        """Take these settings."""
        self.file = write_toml(folder / "node.toml", raw)
        self.settings: Settings = parse(dict(raw), source="the test")
        self.delivered = folder / "delivered"
        self.port: int = self.settings.receiver.port
        self._log = folder / "node.log"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        app.prepare_state(self.settings)
        try:
            self.start("receiver")
            self.start("worker")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in [*self._processes]:
            self.stop(name)

    def start(self, name: str) -> None:
        modules = {"receiver": ["node", "run", "receiver", "-c"], "worker": [self.worker]}
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", *modules[name], str(self.file)]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        if name == "receiver":
            wait_until("the receiver listens", lambda: alive(self.settings, "receiver-1"), timeout_s=120)
        else:
            wait_until("the worker works", lambda: "engines loaded" in self.tail(), timeout_s=300)

    def stop(self, name: str, *, kill: bool = False) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        process.wait(30)

    def ended(self, name: str) -> bool:
        """Whether a process of it has ended by itself."""
        return self._processes[name].poll() is not None

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def records(self) -> Records:
        return Records(self.settings.node.state.absolute())

    def show(self, key: str) -> dict[str, Any]:
        with closing(self.records()) as records:
            try:
                return look.show(records, key, self.settings.assemble)
            except BadSetting:  # nothing of it came yet
                return {"gatherings": [], "sets": [], "series": []}

    def gathering(self, key: str) -> dict[str, Any]:
        """The only gathering of a study or of a series' study; empty before there is one."""
        found = self.show(key)["gatherings"]
        assert len(found) <= 1
        return dict(found[0]) if found else {}

    def wait_for(self, key: str, state: str, *, timeout_s: float = 60.0) -> dict[str, Any]:
        """Until the gathering of a study is in that state."""
        wait_until(f"{state}; {self.tail()}", lambda: self.gathering(key).get("state") == state, timeout_s=timeout_s)
        return self.gathering(key)

    def job(self, key: str) -> dict[str, Any]:
        with closing(self.records()) as records:
            return next(one for one in look.listing(records, limit=1000) if one["id"] == key)

    def wait_delivered(self, key: str, *, timeout_s: float = 60.0) -> dict[str, Any]:
        """Until a job is delivered."""
        wait_until(f"delivered; {self.tail()}", lambda: self.job(key)["state"] == "delivered", timeout_s=timeout_s)
        return self.job(key)


def work(file: Path, pipelines: Sequence[Pipeline]) -> None:
    """Be the worker of a settings file, until SIGTERM."""
    settings = load(file)
    configure("info", part="worker")
    os.umask(0o077)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with app.alone(settings, "worker"), Worker(settings, pipelines=pipelines) as worker:
        worker.run(stop.wait)


if __name__ == "__main__":
    work(Path(sys.argv[1]), PIPELINES)
