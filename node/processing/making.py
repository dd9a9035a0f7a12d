"""A job's result: what was made ahead, what an earlier worker left, and the rest through the network.

Beside the network that makes a slice, the ones before it are measured and their objects written (`following.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from node.log import log
from node.metrics import METRICS
from node.prepared import Prepared
from node.processing.early import Early
from node.processing.following import Followings
from node.processing.foresight import recipe_of
from node.processing.head_start import HeadStart
from node.processing.mapped import forget
from node.processing.outputs import Outputs
from node.processing.partial import Partial
from node.processing.planes import Planes
from node.records import events, sets
from node.records.database import Records
from node.spool import Spool
from node.stages.infer import Inference
from pipelines.judging import Judging
from pipelines.pipeline import Parameters, Pipeline
from pipelines.report import Report
from pipelines.volume import Volume

_FORGET_EVERY: Final = 16  # slices after which mapped pages are given back


@dataclass(frozen=True, kw_only=True)
class Making:
    """Makes results slice by slice.

    maker:    what computes results beside the weights: node, backend and libraries with their versions
    planes:   what was made ahead; None where nothing is
    leave:    says that a complete series makes the rest itself: (Series Instance UID, key of the recipe)
    progress: (job, slices done, slices in all)
    """

    records: Records
    spool: Spool
    inference: Inference
    outputs: Outputs
    maker: str
    planes: Planes | None
    leave: Callable[[str, str], None]
    progress: Callable[[str, int, int], None]
    clock: Callable[[], float]
    followings: Followings = field(default_factory=Followings)

    def ready(self, job: Mapping[str, Any]) -> dict[str, str]:
        """Received file -> file of its slice, of those that were decoded ahead."""
        if self.planes is None:
            return {}
        with self.records.read() as connection:
            members = sets.members(connection, job["set_id"])
        found = {str(self.spool.path(member.file)): self.planes.source(member) for member in members}
        return {file: str(plane) for file, plane in found.items() if plane.exists()}

    def make(
        self,
        job: Mapping[str, Any],
        prepared: Prepared,
        volume: Volume,
        *,
        path: Path,
        pipeline: Pipeline,
        spec: EngineSpec,
        judging: Callable[[NDArray[np.float32]], Judging],
    ) -> Path:
        """The result's file, `path`; its map lies at `map_path` of it, where a rule wants one.

        judging: the checks of a result that is in the making
        raises:  as the inference
        """
        if path.exists():  # whole: the step ended before it could say so
            return path
        factor, mapped = pipeline.factor(job["parameters"]), bool(job["maps"])
        partial = Partial.open(path, volume.voxels.shape, maker=self.maker, factor=factor, with_map=mapped)
        judged = judging(partial.voxels)
        following = self.followings.begin(
            job["id"], judged, self._early(job, prepared, partial, judged, pipeline, spec)
        )
        start = self._head_start(job, prepared, volume, pipeline, spec)
        if mapped:  # what was made ahead has no map: it is made again
            start = None

        def known(index: int) -> NDArray[np.float32] | None:
            made = partial.known(index)
            return start.known(index) if made is None and start is not None else made

        def made(done: int, total: int) -> None:
            if pipeline.finishes is None:
                partial.wrote(done - 1)
                following.made(done - 1)
            elif done == total:  # what the pipeline does then is not done twice to the same slices
                partial.begin_anew()
            else:
                partial.wrote(done - 1)
            if done % _FORGET_EVERY == 0:
                forget(volume.voxels, volume.padding)
            self.progress(job["id"], done, total)

        with METRICS.inference_seconds.labels(pipeline=pipeline.name).time():
            self.inference.infer(
                pipeline,
                volume,
                parameters=job["parameters"],
                into=partial.voxels,
                map_into=partial.map,
                known=known,
                progress=made,
            )
        partial.finish(path)
        if start is not None and start.used:
            self._say(job["id"], start, len(prepared.sources))
        return path

    def _head_start(
        self, job: Mapping[str, Any], prepared: Prepared, volume: Volume, pipeline: Pipeline, spec: EngineSpec
    ) -> HeadStart | None:
        if self.planes is None or pipeline.roles:
            return None
        with self.records.read() as connection:
            members = sets.members(connection, job["set_id"])
        chosen = Parameters(values=job["parameters"], pixel_mm=volume.pixel_mm)
        recipe = recipe_of(pipeline, spec, chosen, maker=self.maker)
        self.leave(members[0].series_uid, recipe.key)
        by_file = {str(self.spool.path(member.file)): member for member in members}
        return HeadStart(self.planes, recipe, prepared, volume, by_file)

    def _early(
        self,
        job: Mapping[str, Any],
        prepared: Prepared,
        partial: Partial,
        judging: Judging,
        pipeline: Pipeline,
        spec: EngineSpec,
    ) -> Early | None:
        if not self.outputs.may_be_early(job, prepared, pipeline):
            return None

        def write(report: Report, chunk: tuple[int, int], result: Path) -> dict[str, Any]:
            said = {**job, "report": report.to_json()}
            return self.outputs.write(said, prepared, result=result, pipeline=pipeline, spec=spec, slices=chunk)

        return Early(judging, write=write, making=partial.path, total=len(prepared.sources))

    def _say(self, job_id: str, start: HeadStart, total: int) -> None:
        METRICS.eager_slices.labels(what="used").inc(start.used)
        log.info("made ahead", job=job_id[:12], slices=start.used, seconds=round(start.seconds, 3))
        with self.records.write() as connection:
            events.add(
                connection,
                at=self.clock(),
                kind="ahead",
                subject=job_id,
                slices=start.used,
                total=total,
                seconds=round(start.seconds, 3),
            )
