"""Fits of the score of the triage: a logistic that no feature lowers, isotonic calibration, percentiles of normals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Values = NDArray[np.float64]
RIDGE = 0.02  # on standardised coefficients, in units of the mean log loss
PERCENTILES = 41


def logistic(values: Values, abnormal: NDArray[np.bool_], weight: Values, free: Sequence[bool]) -> tuple[float, Values]:
    """Intercept and coefficients of features (n, k); below 0 only those that are `free`.

    weight: of each case, sums to 1
    """
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    scaled = (values - mean) / spread
    sign = np.where(abnormal, 1.0, -1.0)

    def cost(at: Values) -> tuple[float, Values]:
        margin = sign * (at[0] + scaled @ at[1:])
        slope = -sign * weight / (1.0 + np.exp(np.clip(margin, -500.0, 500.0)))
        loss = float(weight @ np.logaddexp(0.0, -margin)) + RIDGE * float(at[1:] @ at[1:])
        return loss, np.concatenate([[slope.sum()], scaled.T @ slope + 2.0 * RIDGE * at[1:]])

    bounds = [(None, None), *((None, None) if one else (0.0, None) for one in free)]
    found = minimize(cost, np.zeros(values.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    coefficients: Values = found[1:] / spread
    return float(found[0] - mean @ coefficients), coefficients


def isotonic(logits: Values, abnormal: NDArray[np.bool_], weight: Values) -> list[tuple[float, float]]:
    """Knots (logit, probability), rising: pool adjacent violators; a block stands at its mean logit.

    No probability of 0 or 1 comes out: a block counts one more case of each kind than it has, of mean weight, halved.
    """
    order = np.argsort(logits, kind="stable")
    more = 0.5 * float(weight.mean())
    blocks: list[list[float]] = []  # logit times weight, abnormal weight, weight
    for k in order:
        blocks.append([float(logits[k] * weight[k]), float(abnormal[k] * weight[k]), float(weight[k])])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    made: list[tuple[float, float]] = []
    for total, ill, all_of in blocks:
        at, probability = total / all_of, (ill + more) / (all_of + 2.0 * more)
        if made and (at <= made[-1][0] or probability <= made[-1][1]):
            continue
        made.append((at, probability))
    return made


def percentiles(logits: Values, weight: Values) -> list[float]:
    """Weighted quantiles at even steps from the least to the greatest."""
    order = np.argsort(logits, kind="stable")
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    at = (below - below[0]) / max(float(below[-1] - below[0]), 1e-12)
    return [float(v) for v in np.interp(np.linspace(0.0, 1.0, PERCENTILES), at, logits[order])]


def area(normal: Values, abnormal: Values) -> float:
    """AUC: the share of pairs in which the abnormal one is higher, ties half."""
    above = (abnormal[:, None] > normal[None]).mean() + 0.5 * (abnormal[:, None] == normal[None]).mean()
    return float(above)
