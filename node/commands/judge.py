"""The triage of head CT as `imaging-node evaluate` asks it: the pipeline that the node runs, on a simulated series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.training.evaluate_triage_cases import Judged
from pipelines.head_ct_triage import assess, candidate, protocol
from pipelines.head_ct_triage_limits import LIMITS
from pipelines.report import Verdict
from pipelines.triage import Flag
from pipelines.volume import Volume


@dataclass(frozen=True, kw_only=True)
class TriageJudge:
    """`engines.training.evaluate_triage_cases.Judge` by the pipeline head-ct-triage."""

    @property
    def threshold(self) -> float:
        """The least logit whose probability raises the flag."""
        at, made = zip(*LIMITS.knots, strict=True)
        fine = np.linspace(at[0], at[-1], 20_001)
        raised = np.interp(fine, at, made) >= LIMITS.threshold
        return float(fine[int(np.argmax(raised))])

    @property
    def percentiles(self) -> Sequence[float]:
        """Logits of normal heads at even steps, lowest first."""
        return LIMITS.normals

    def __call__(
        self,
        engine: Engine,
        voxels: NDArray[np.float32],
        affine: NDArray[np.float64],
        header: Mapping[str, tuple[str, ...]],
    ) -> Judged:
        headers = [header] * len(voxels)
        if refused := candidate(headers):
            return Judged(reasons=tuple(refused), by_header=True)
        volume = Volume(voxels=np.ascontiguousarray(voxels, dtype=np.float32), affine=affine, unit="HU")
        found, maps = assess(engine, volume, headers, {}, lambda done, total: None)
        if found.score is None or maps is None:
            return Judged(reasons=found.reasons, by_header=protocol(headers).verdict is Verdict.REJECT)
        return Judged(
            flagged=found.flag is Flag.RAISED,
            logit=LIMITS.logit(found.features),
            probability=found.score,
            peak=found.peak,
            z=maps.z,
            region=maps.region,
        )
