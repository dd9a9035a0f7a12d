"""Head-CT triage: how far a head without contrast agent is from normal, and where; no image for reading.

Brain, pose and grid by rule (`engines.head`), a pseudo-healthy image by the network, eight figures, a calibrated
probability (NETWORKS.md D5). What cannot be analysed says so and goes on top of the list (E-15).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from engines.engine import Engine
from engines.head import NoBrain, NotAligned, align, brain_mask, to_grid
from engines.head_pose import LEAST_QUALITY
from engines.head_score import Score
from pipelines.head_ct_triage_figures import figures
from pipelines.head_ct_triage_guards import LIMITS as GUARDS
from pipelines.head_ct_triage_limits import LIMITS as SCORE
from pipelines.head_ct_triage_look import look
from pipelines.head_ct_triage_maps import maps, where
from pipelines.mr_roles import HEAD
from pipelines.pipeline import Images, Pipeline, Requires, Tiles
from pipelines.report import Finding, Verdict
from pipelines.steps.guards_protocol import Envelope, facts
from pipelines.steps.guards_triage import TriageLimits, inputs, probe, reasons, stable
from pipelines.triage import Assessment, Flag, Headers, Maps, Triage
from pipelines.volume import Volume

VERSION: Final = "1.0.0"
NAME: Final = "head-ct-triage"

PIXEL_MM, THICKNESS_MM = (0.3, 1.1), (0.4, 6.5)
KVP: Final = (90.0, 150.0)
LEAST_SLICES: Final = 16

ENVELOPE: Final = Envelope(
    modality="CT",
    kvp=KVP,
    thickness_mm=THICKNESS_MM,
    spacing_mm=PIXEL_MM,
    fov_mm=(150.0, 520.0),
    body_parts=HEAD | {"NEURO", "HEADBRAIN", "BRAINHEAD", "CRANIUM"},
    excluded=frozenset({"BREAST", "TEETH", "JAW", "MAXILLA", "MANDIBLE"}),
    contrast=False,
    # Averaged to 5 mm, the noise of either is within what the network saw.
    iterative=Verdict.PASS,
    by_network=Verdict.CAUTION,
)

_ELSEWHERE = (
    "ABDOMEN ABDOMENPELVIS ANKLE ARM BREAST CHEST CHESTABDOMEN CHESTABDPELVIS CSPINE ELBOW EXTREMITY FOOT HAND HEART "
    "HIP JAW KIDNEY KNEE LEG LIVER LSPINE LUNG MANDIBLE MAXILLA NECK PELVIS SHOULDER SPINE TEETH THIGH THORAX TSPINE "
    "WHOLEBODY WRIST"
)
_OTHER_PARTS: Final = frozenset(_ELSEWHERE.split())
_NO_STUDY_IMAGE: Final = frozenset({"LOCALIZER", "SECONDARY CAPTURE", "MIP", "MINIP", "PERFUSION", "CBF", "CBV", "MTT"})
_FEWEST: Final = 8  # slices: less is a localizer or a test, no examination of a head


def candidate(headers: Headers) -> list[str]:
    """Why a series is no head CT that anyone would read: none of these ever gets a triage's result."""
    if not headers:
        return ["there is no slice"]
    found: list[str] = []
    modalities = {value for header in headers for value in header.get("Modality", ())}
    if modalities != {"CT"}:
        found.append("it is not a CT")
    kinds = {value.upper() for header in headers for value in header.get("ImageType", ())}
    if kinds & _NO_STUDY_IMAGE:
        found.append("it is a localizer, a projection or a map")
    if len(headers) < _FEWEST:
        found.append(f"it has {len(headers)} slice(s); an examination of a head has {_FEWEST} and more")
    parts = {_plain(value) for header in headers for value in header.get("BodyPartExamined", ())} - {""}
    if parts and parts <= _OTHER_PARTS:
        found.append("it shows another part of the body")
    if not all(_is_axial(header) for header in headers):
        found.append("its slices are not axial")
    return found


def assess(
    engine: Engine,
    volume: Volume,
    headers: Headers,
    values: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> tuple[Assessment, Maps | None]:
    """Look at a head CT; see `pipelines.triage.Assess`. raises: ShapeOutsideProfile, EngineFailed"""
    return assessed(engine, volume, headers, progress, score=SCORE, guards=GUARDS)


def assessed(
    engine: Engine,
    volume: Volume,
    headers: Headers,
    progress: Callable[[int, int], None],
    *,
    score: Score,
    guards: TriageLimits,
) -> tuple[Assessment, Maps | None]:
    """The same with a score and limits of one's own."""
    gate = protocol(headers)

    def unseen(why: Sequence[str], *more: Finding) -> tuple[Assessment, None]:
        return Assessment.not_analysable(why, threshold=score.threshold, findings=(gate, *more)), None

    if gate.verdict is Verdict.REJECT:
        return unseen([gate.text])
    try:
        mask = brain_mask(volume.voxels, _spacing(volume))
        pose = align(volume.voxels, volume.affine, mask)
    except NoBrain as error:
        return unseen([error.reason], _refused("brain", None, error.reason))
    except NotAligned as error:
        return unseen([error.reason], _refused("pose", error.quality, error.reason))
    stack = to_grid(volume.voxels, pose, mask)
    found = figures(volume, mask, pose, stack)
    before = inputs(found, guards)
    if refused := reasons(before):
        return unseen(refused, *before)
    seen = look(engine, stack, score, progress)
    after = (*before, probe(engine, stack, seen, score, guards), stable(engine, stack, seen, guards))
    if refused := reasons(after):
        return unseen(refused, *after)
    probability = score.probability(seen.logit)
    shape = volume.voxels.shape
    strongest = where(seen, pose, (shape[0], shape[1], shape[2]))
    assessment = Assessment(
        flag=Flag.RAISED if probability >= score.threshold else Flag.NOT_RAISED,
        threshold=score.threshold,
        score=probability,
        percentile=score.percentile(seen.logit),
        features=seen.features,
        slices=strongest.slices,
        peak=strongest.peak,
        findings=(gate, *after),
    )
    return assessment, maps(seen, stack, pose, volume)


def protocol(headers: Headers) -> Finding:
    """E-1: the examination is one that the network was made for; every slice is asked."""
    worst: dict[str, Verdict] = {}
    for header in headers:
        told = facts(header, ENVELOPE)
        if any(header.get("ContrastBolusAgentSequence", ())) and not any(header.get("ContrastBolusAgent", ())):
            told.append((Verdict.REJECT, "contrast agent was given"))
        if next(iter(header.get("LossyImageCompression", ())), "00") not in ("", "00"):
            told.append((Verdict.REJECT, "the images were compressed with loss"))
        for verdict, fact in told:
            worst[fact] = Verdict.worst([verdict, worst.get(fact, Verdict.PASS)])
    if not headers:
        worst["there is no header"] = Verdict.CAUTION
    verdict = Verdict.worst(list(worst.values()) or [Verdict.PASS])
    shown = sorted(fact for fact in worst if worst[fact] is verdict)[:6]
    text = "; ".join(shown) or "the examination is one that the network was made for"
    return Finding(
        name="protocol",
        value=float(len(worst)),
        limit=0.0,
        verdict=verdict,
        version=VERSION,
        text=f"{text[0].upper()}{text[1:]}.",
    )


def _refused(name: str, value: float | None, text: str) -> Finding:
    return Finding(name=name, value=value, limit=LEAST_QUALITY, verdict=Verdict.REJECT, version=VERSION, text=text)


def _spacing(volume: Volume) -> tuple[float, float, float]:
    z, y, x = (float(mm) for mm in np.linalg.norm(volume.affine[:3, :3], axis=0))
    return z, y, x


def _plain(text: str) -> str:
    return "".join(letter for letter in text.upper() if letter.isalnum())


def _is_axial(header: Mapping[str, tuple[str, ...]]) -> bool:
    """Within 45 degrees; a header without an orientation says nothing against it."""
    try:
        cosines = [float(text) for text in header.get("ImageOrientationPatient", ())]
    except ValueError:
        return True
    if len(cosines) != 6:
        return True
    normal = np.cross(cosines[:3], cosines[3:])
    return abs(float(normal[2])) >= math.cos(math.radians(45.0)) * max(float(np.linalg.norm(normal)), 1e-6)


HEAD_CT_TRIAGE = Pipeline(
    name=NAME,
    version=VERSION,
    takes=Requires(
        modality="CT",
        minimum_slices=LEAST_SLICES,
        pixel_spacing_mm=PIXEL_MM,
        slice_thickness_mm=THICKNESS_MM,
        kvp=KVP,
        tilt_deg_max=30.0,
        rows=(200, 1024),
        columns=(200, 1024),
    ),
    engine="head_ct_triage",
    feed="slices",
    output="healthy",
    keep_outside=(-1024.0, 3071.0),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=(),
    triage=Triage(threshold=SCORE.threshold, candidate=candidate, assess=assess),
    gives=Images(
        kind="PH",
        marker="SYNTHETIC PSEUDO-HEALTHY (AI)",
        operation="Synthesis of pseudo-healthy image by neural network",
    ),
)
