"""A node without processes of its own for receiving: its state, and workers of the test's own process on it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pydicom

from node import app
from node.commands import look
from node.dicom.part10 import split
from node.records import instances
from node.records.database import Records
from node.records.states import Ending
from node.settings import Settings, parse
from node.stages.receive import Arrival
from node.worker import Worker
from tests.peers import wait_until
from tests.running_node import settings_for

TIMES = {"SeriesDate", "SeriesTime", "ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime"}


class Site:
    """A node's state, its receiver played by the test, and workers that come and go."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        raw = settings_for(folder, **changes)
        self.settings: Settings = parse(raw, source="the test")
        app.prepare_state(self.settings)
        self.records = Records(self.settings.node.state)
        self.delivered = folder / "delivered"

    @property
    def ahead(self) -> list[Path]:
        """Files of work ahead."""
        return sorted((self.settings.node.state / "spool" / "work").glob("*/ahead/*/*"))

    def opened(self, key: str, *, calling_ae: str = "OTHER") -> None:
        with self.records.write() as connection:
            instances.open_association(connection, key=key, calling_ae=calling_ae, receiver="test", at=time.time())

    def closed(self, key: str, ending: Ending = Ending.RELEASED) -> None:
        with self.records.write() as connection:
            instances.close_association(connection, key=key, at=time.time(), ending=ending)

    def receive(self, files: Sequence[Path], key: str) -> None:
        child = app.decoder_of(self.settings)
        with (
            closing(child),
            closing(app.intake_of(self.settings, self.records, app.spool_of(self.settings), child)) as intake,
        ):
            for path in files:
                meta, data = split(path)
                intake.store(
                    Arrival(
                        sop_class_uid=meta.sop_class_uid,
                        sop_instance_uid=meta.sop_instance_uid,
                        transfer_syntax=meta.transfer_syntax,
                        data_set=data,
                        association=key,
                        calling_ae="OTHER",
                    )
                )

    def jobs(self) -> list[dict[str, Any]]:
        return look.listing(self.records, limit=100)

    def until_settled(self, worker: Worker, count: int) -> None:
        def settled() -> bool:
            worker.tick()
            ended = [job for job in self.jobs() if job["state"] in ("delivered", "held", "refused", "failed")]
            return len(ended) == count

        wait_until(f"{count} job(s) ended", settled, timeout_s=120)

    def objects(self) -> dict[str, dict[str, Any]]:
        """SOP Instance UID -> every element of a delivered object but the job's own times."""
        found = {}
        for path in self.delivered.rglob("*.dcm"):
            data = pydicom.dcmread(path)
            elements = {e.keyword: repr(e.value) for e in data if e.keyword not in TIMES}
            found[str(data.SOPInstanceUID)] = elements | {"pixels": data.get("PixelData")}
        return found


@contextmanager
def site(folder: Path, **changes: Any) -> Iterator[Site]:
    made = Site(folder, **changes)
    with closing(made.records):
        yield made
