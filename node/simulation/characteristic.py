"""What a score tells of a study: how it is spread over emergencies and over all others, on the scale of percentiles."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node.errors import BadSetting

_ATOMS: Final = 8192  # of a characteristic that is a formula
_FEWEST: Final = 20  # scores of each kind: with fewer nothing is measured
FALSE_ALARMS: Final = 0.15  # of a characteristic without a threshold of its own (NETWORKS C5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Characteristic:
    """Scores as percentiles among normals; every entry is as likely as any other.

    name:             where it comes from, for tables
    others, others_flagged:           (n,) percentile 0 to 1, and whether the flag is raised, of what is no emergency
    emergencies, emergencies_flagged: (m,) the same of emergencies
    """

    name: str
    others: NDArray[np.float64]
    others_flagged: NDArray[np.bool_]
    emergencies: NDArray[np.float64]
    emergencies_flagged: NDArray[np.bool_]

    @property
    def sensitivity(self) -> float:
        """Share of emergencies with a flag."""
        return float(self.emergencies_flagged.mean())

    @property
    def specificity(self) -> float:
        """Share of others without."""
        return 1.0 - float(self.others_flagged.mean())

    @property
    def auc(self) -> float:
        """Chance that an emergency has the higher percentile; ties count half."""
        return _auc(self.others, self.emergencies)


def binormal(auc: float, *, false_alarms: float = FALSE_ALARMS) -> Characteristic:
    """Two normal distributions of one width (Metz 1986), so far apart that the area under the curve is `auc`.

    auc:          0.5 to below 1
    false_alarms: share of others above the threshold, above 0 and below 1
    raises:       BadSetting outside of these
    """
    if not 0.5 <= auc < 1.0:
        raise BadSetting(f"An AUC of {auc:g}.", fix="Give one from 0.5 to below 1.")
    if not 0.0 < false_alarms < 1.0:
        raise BadSetting(f"False alarms of {false_alarms:g}.", fix="Give a share above 0 and below 1.")
    normal = NormalDist()
    apart = 2**0.5 * normal.inv_cdf(auc)
    others = (np.arange(_ATOMS) + 0.5) / _ATOMS
    emergencies = np.array([normal.cdf(normal.inv_cdf(float(u)) + apart) for u in others])
    return Characteristic(
        name=f"binormal, AUC {auc:g}, {false_alarms:.0%} false alarms",
        others=others,
        others_flagged=others >= 1.0 - false_alarms,
        emergencies=emergencies,
        emergencies_flagged=emergencies >= 1.0 - false_alarms,
    )


def measured(
    name: str,
    *,
    normal: Sequence[float],
    abnormal: Sequence[float],
    threshold: float,
    table: Sequence[float] | None = None,
) -> Characteristic:
    """From scores of single studies.

    normal, abnormal: scores of studies without and with a finding; the simulation takes the latter for emergencies
    threshold:        the flag is raised from this score on
    table:            scores at equally spaced percentiles of normals, the lowest first, as the node uses them in
                      service; without it the normals given here are the scale
    raises:           BadSetting for too few scores, or such as are no numbers
    """
    low, high = np.asarray(normal, np.float64), np.asarray(abnormal, np.float64)
    for what, scores in (("normal", low), ("abnormal", high)):
        if scores.ndim != 1 or scores.size < _FEWEST or not np.isfinite(scores).all():
            raise BadSetting(f"{name}: {scores.size} {what} scores.", fix=f"Give {_FEWEST} or more finite numbers.")
    if not np.isfinite(threshold):
        raise BadSetting(f"{name}: a threshold of {threshold}.", fix="Give a number.")
    scale = np.sort(low) if table is None else np.asarray(table, np.float64)
    if scale.size < 2 or np.any(np.diff(scale) < 0):
        raise BadSetting(f"{name}: the percentiles of normals do not ascend.", fix="Write them lowest first.")
    of = _rank_in if table is None else _read_off
    return Characteristic(
        name=name,
        others=of(scale, low),
        others_flagged=low >= threshold,
        emergencies=of(scale, high),
        emergencies_flagged=high >= threshold,
    )


def from_file(path: Path) -> Characteristic:
    """From a JSON file with `normal`, `abnormal`, `threshold` and, if there is one, `percentiles`.

    They stand at the top, or under `scores` as in the card of a network. Raises BadSetting if they do not.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadSetting(f"Scores in {path} cannot be read: {error}.", fix="Name a JSON file.") from error
    found = find(data)
    if found is None:
        fix = 'It needs {"normal": [...], "abnormal": [...], "threshold": ...}.'
        raise BadSetting(f"{path} holds no scores.", fix=fix)
    try:
        return measured(
            f"scores of {path.name}",
            normal=found["normal"],
            abnormal=found["abnormal"],
            threshold=float(found["threshold"]),
            table=found.get("percentiles"),
        )
    except (TypeError, ValueError) as error:
        raise BadSetting(f"Scores in {path} are not numbers: {error}.", fix="Write lists of numbers.") from error


def find(data: Any) -> Mapping[str, Any] | None:
    """The table of scores in what a JSON file holds; None if there is none."""
    if not isinstance(data, dict):
        return None
    places = (data, data.get("scores"), (data.get("figures") or {}) if isinstance(data.get("figures"), dict) else {})
    for place in (*places, places[-1].get("scores") if isinstance(places[-1], dict) else None):
        if isinstance(place, dict) and {"normal", "abnormal", "threshold"} <= place.keys():
            return place
    return None


def _rank_in(scale: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the scale below each score, half of those that are equal counted."""
    below = np.searchsorted(scale, scores, "left") + np.searchsorted(scale, scores, "right")
    return np.asarray(below / (2.0 * scale.size), np.float64)


def _read_off(scale: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(scores, scale, np.linspace(0.0, 1.0, scale.size))


def _auc(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    return float(_rank_in(np.sort(low), high).mean())
