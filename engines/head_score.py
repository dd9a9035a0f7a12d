"""From the figures of a head to a probability: logistic, then calibrated (NETWORKS D5). numpy only.

What training fits and what the node computes are these lines; the numbers are in pipelines/head_ct_triage_limits.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

LOGGED: Final = frozenset({"volume_positive_ml", "volume_negative_ml", "dense_ml"})
"""Volumes go in as log(1 + mL): 60 mL are not sixty times as suspicious as one."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A fitted score.

    engine_sha256: of the network whose figures it was fitted to
    intercept, coefficients: of the logistic, by name of the feature, at most eight
    knots:         (logit, probability) rising in both; between them straight, beyond them level (isotonic, Zadrozny &
                   Elkan 2002)
    threshold:     the flag is raised from this probability on
    normals:       logits of normal heads at even steps of percentile, from the least to the greatest
    csf_mean, csf_sd: share of CSF within normal skulls
    """

    engine_sha256: str
    intercept: float
    coefficients: Mapping[str, float]
    knots: tuple[tuple[float, float], ...]
    threshold: float
    normals: tuple[float, ...]
    csf_mean: float
    csf_sd: float

    def __post_init__(self) -> None:
        at, made = np.array(self.knots).T
        if len(self.coefficients) > 8 or (np.diff(at) <= 0.0).any() or (np.diff(made) < 0.0).any():
            raise ValueError("A score has eight coefficients at most and knots that rise.")
        if not 0.0 <= made[0] <= self.threshold <= made[-1] <= 1.0 or (np.diff(self.normals) < 0.0).any():
            raise ValueError("Threshold and knots are probabilities, and normal logits are sorted.")

    def logit(self, features: Mapping[str, float]) -> float:
        """The logistic's sum, before calibration. raises: KeyError for a feature that is missing"""
        return self.intercept + sum(
            coefficient * transformed(name, features[name]) for name, coefficient in self.coefficients.items()
        )

    def probability(self, logit: float) -> float:
        """Calibrated, 0 to 1."""
        at, made = zip(*self.knots, strict=True)
        return float(np.interp(logit, at, made))

    def percentile(self, logit: float) -> float:
        """Share of normal heads below, 0 to 1."""
        return float(np.interp(logit, self.normals, np.linspace(0.0, 1.0, len(self.normals))))


def transformed(name: str, value: float) -> float:
    """A figure as the logistic takes it."""
    return float(np.log1p(max(value, 0.0))) if name in LOGGED else float(value)
