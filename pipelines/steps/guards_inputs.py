"""Guards on what a network of several MR series is given: is each the series that its role says (NETWORKS.md E-2).

Headers were asked when the series were routed; this asks the voxels. All limits are data of the pipeline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pipeline import Checked, Range
from pipelines.report import Finding, Verdict
from pipelines.steps import head, measure
from pipelines.steps.by_slice import BySlice, Pair
from pipelines.steps.guards_noise import above, judged
from pipelines.steps.measure import Image

VERSION = "1.0.0"

_INNER: Final = 0.72
_BELOW_MM: Final = (20.0, 95.0)  # of the vertex: the brain, above the face
_DARKEST: Final = 0.06  # share of the brain that CSF has at least, within the outline's middle
_BRIGHT: Final = 1.3  # of white matter: nothing in the brain is that bright in T1 without contrast agent, but flow
_GREY: Final = (0.4, 0.7)  # of the way from CSF to white matter in T1
_SAME: Final = 0.98  # correlation within the brain: two weightings of one head are far below it
_FEWEST: Final = 400  # sampled means


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """What one slice shows of its series.

    area_mm2: of the head; size_mm: length and width of its outline, 0 without one
    values:   (4, n): T1, T2, FLAIR (NaN where missing) of every fourth mean inside, and the noise of T1 there
    edges:    role -> sum of the squared cosines between its gradients and those of T1, weighted, and of the weights
    """

    area_mm2: float
    size_mm: tuple[float, float]
    values: NDArray[np.float32]
    edges: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class series_plausible(BySlice):
    """E-2: T1 shows CSF dark, T2 bright, FLAIR dark; nothing in T1 is bright; the head has a head's size; edges agree.

    Means within the middle of the outline, 20 to 95 mm below the vertex; CSF is the darkest 6 % of T1.

    csf_t1, csf_flair: signal of CSF over white matter's, at most; csf_t2: at least
    grey_flair:        signal in FLAIR of what T1 shows as grey matter, at least: grey matter is not dark in FLAIR
    bright:            share of the brain above 1.3 of white matter in T1: (caution, reject); contrast agent, flow
    noise:             SD over white matter's signal in T1, at most
    size_mm:           of the outline, root of length times width: pixels of another size than the header says
    agree_t2, agree_flair: agreement of edges with those of T1, (caution, reject), at least; 0 is chance. A series that
                       follows T1 in its values too is the same image twice
    every:             one slice of this many is measured
    """

    csf_t1: float
    csf_t2: float
    csf_flair: float
    grey_flair: float
    bright: tuple[float, float]
    noise: float
    size_mm: Range
    agree_t2: tuple[float, float]
    agree_flair: tuple[float, float]
    every: int = 1

    def measure(self, case: Checked, pair: Pair) -> Sampled:
        """The figures of one slice."""
        return sampled(case, pair)

    def judge(self, case: Checked, rows: Sequence[Sampled]) -> tuple[Finding, ...]:
        """Findings: axial, head_size, t1_noise, t1_csf, t1_bright, and csf and edges of T2 and of FLAIR if there."""
        if not head.is_axial(case.source):
            text = "The slices are not axial; the network knows no others."
            return (judged("axial", None, 0.0, Verdict.REJECT, text, version=VERSION),)
        below = head.below_top_mm(np.asarray([row.area_mm2 for row in rows]), case.source)
        inside = [row for row, mm in zip(rows, below, strict=True) if _BELOW_MM[0] <= mm <= _BELOW_MM[1]]
        values = np.concatenate([row.values for row in inside], axis=1) if inside else np.empty((4, 0), np.float32)
        if values.shape[1] < _FEWEST:
            text = f"Only {values.shape[1]} means of brain: the series cannot be judged."
            return (judged("t1_csf", None, self.csf_t1, Verdict.REJECT, text, version=VERSION),)
        dark = values[:, values[0] <= np.quantile(values[0], _DARKEST)]
        share = float(np.mean(values[0] > _BRIGHT))
        found = [
            self._size(inside),
            _most("t1_noise", float(np.nanmedian(values[3])), self.noise, "Noise of T1 over white matter's signal"),
            _most("t1_csf", float(np.median(dark[0])), self.csf_t1, "CSF in T1 over white matter"),
            judged(
                "t1_bright",
                share,
                self.bright[0],
                Verdict.worst([above(share, self.bright[0], Verdict.CAUTION), above(share, self.bright[1])]),
                f"{100 * share:.2f} % of the brain are brighter in T1 than {_BRIGHT:g} of white matter, as vessels are "
                f"after contrast agent; allowed {100 * self.bright[0]:g} %, and {100 * self.bright[1]:g} % at most.",
                version=VERSION,
            ),
        ]
        if "t2" in case.source.others:
            value = _middle(dark[1])
            text = f"CSF in T2 over white matter: {_shown(value)}; at least {self.csf_t2:g}."
            verdict = Verdict.PASS if value is not None and value >= self.csf_t2 else Verdict.REJECT
            found.append(judged("t2_csf", value, self.csf_t2, verdict, text, version=VERSION))
            found.append(_agreement("t2", rows, self.agree_t2, values[:2]))
        if "flair" in case.source.others:
            value = _middle(dark[2])
            text = f"CSF in FLAIR over white matter: {_shown(value)}; allowed {self.csf_flair:g}."
            verdict = Verdict.PASS if value is not None and value <= self.csf_flair else Verdict.REJECT
            found.append(judged("flair_csf", value, self.csf_flair, verdict, text, version=VERSION))
            low = float(np.median(dark[0]))
            middle = (values[0] - low) / max(1.0 - low, 0.05)
            value = _middle(values[2][(middle > _GREY[0]) & (middle < _GREY[1])])
            text = f"Grey matter in FLAIR over white matter: {_shown(value)}; at least {self.grey_flair:g}."
            verdict = Verdict.PASS if value is not None and value >= self.grey_flair else Verdict.REJECT
            found.append(judged("flair_grey", value, self.grey_flair, verdict, text, version=VERSION))
            found.append(_agreement("flair", rows, self.agree_flair, values[:3:2]))
        return tuple(found)

    def _size(self, rows: Sequence[Sampled]) -> Finding:
        sizes = [float(np.sqrt(row.size_mm[0] * row.size_mm[1])) for row in rows if row.size_mm[0] > 0.0]
        value = float(np.median(sizes))
        low, high = self.size_mm
        text = f"The head measures {value:.0f} mm (root of length times width); an adult's {low:g} to {high:g} mm."
        verdict = Verdict.PASS if low <= value <= high else Verdict.REJECT
        return judged("head_size", value, high, verdict, text, version=VERSION)


def sampled(case: Checked, pair: Pair) -> Sampled:
    """The figures of `series_plausible` for one slice."""
    t1 = pair.half_before * np.float32(1.0 / head.white(case, "t1"))
    around = head.outline(t1, case.source.affine)
    if around is None:
        return Sampled(area_mm2=0.0, size_mm=(0.0, 0.0), values=np.empty((4, 0), np.float32), edges={})
    others = {role: one for role in ("t2", "flair") if (one := head.halved(case, role, pair.index)) is not None}
    inner = (around.radius(t1.shape) < _INNER) & (t1 > head.TISSUE / 2)
    nothing = np.full_like(t1, np.nan)
    every = np.flatnonzero(inner)[::4]
    values = np.stack([one.ravel()[every] for one in (t1, others.get("t2", nothing), others.get("flair", nothing))])
    noise = np.full((1, every.size), _noise(pair.before, case), dtype=np.float32)
    edges, mask = {}, inner[1:-1, 1:-1]
    if others and np.count_nonzero(mask) >= _FEWEST:
        own = _slopes(t1, mask)
        edges = {role: _cosines(own, _slopes(one, mask)) for role, one in others.items()}
    return Sampled(
        area_mm2=float(np.count_nonzero(t1 > head.TISSUE)) * around.mm[0] * around.mm[1],
        size_mm=around.size_mm,
        values=np.concatenate([values, noise]),
        edges=edges,
    )


def _noise(image: Image, case: Checked) -> float:
    """SD of the noise in tissue over white matter's signal, from second differences, which anatomy hardly has."""
    tissue = image[1:-1, 1:-1] > 0.7 * head.white(case, "t1")
    if np.count_nonzero(tissue) < _FEWEST:
        return float("nan")
    # Immerkaer 1996: the difference of two Laplacians; its SD for white noise is 6.
    rows = image[:-2] - 2.0 * image[1:-1] + image[2:]
    both = rows[:, :-2] - 2.0 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(both[tissue]))) * 1.4826 / 6.0 / head.white(case, "t1")


def _slopes(image: Image, where: NDArray[np.bool_]) -> tuple[Image, Image]:
    smooth = measure.box(image, 1)
    return (smooth[2:, 1:-1] - smooth[:-2, 1:-1])[where], (smooth[1:-1, 2:] - smooth[1:-1, :-2])[where]


def _cosines(one: tuple[Image, Image], other: tuple[Image, Image]) -> tuple[float, float]:
    weight = np.hypot(*one) * np.hypot(*other)
    dot = one[0] * other[0] + one[1] * other[1]
    return float(np.sum(np.square(dot) / np.maximum(weight, 1e-6))), float(np.sum(weight))


def _agreement(role: str, rows: Sequence[Sampled], least: tuple[float, float], values: NDArray[np.float32]) -> Finding:
    """Normalised gradient fields (Haber and Modersitzki 2006): 1 where edges lie as those of T1, 0 by chance."""
    pairs = [row.edges[role] for row in rows if role in row.edges]
    weight = sum(pair[1] for pair in pairs)
    name, label = f"{role}_agrees", role.upper()
    if weight <= 0.0:
        text = f"No slice of {label} has edges to compare with those of T1."
        return judged(name, None, least[0], Verdict.REJECT, text, version=VERSION)
    value = 2.0 * sum(pair[0] for pair in pairs) / weight - 1.0
    text = (
        f"Edges of {label} agree with those of T1 by {value:.2f}; at least {least[0]:g}, and {least[1]:g} by all means."
    )
    known = values[:2, np.isfinite(values[1])]
    alike = measure.correlation(known[0], known[1]) if known.shape[1] else None
    if alike is not None and alike > _SAME:
        text = f"The values of {label} follow those of T1 (correlation {alike:.3f}): one image has two roles."
        return judged(name, alike, _SAME, Verdict.REJECT, text, version=VERSION)
    too_little = Verdict.CAUTION if value >= least[1] else Verdict.REJECT
    verdict = Verdict.PASS if value >= least[0] else too_little
    return judged(name, value, least[0], verdict, text, version=VERSION)


def _most(name: str, value: float, limit: float, what: str) -> Finding:
    return judged(name, value, limit, above(value, limit), f"{what}: {value:.3g}; allowed {limit:g}.", version=VERSION)


def _middle(values: Image) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size >= 20 else None


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"
