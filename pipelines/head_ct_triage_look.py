"""What the network says of a head on the grid: slices in, figures and a logit out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineFailed
from engines.head import GRID, HeadStack, features, z_map
from engines.head_features import Normal
from engines.head_score import Score

Image = NDArray[np.float32]

RANGE_HU: Final = (-100.0, 200.0)
BATCH: Final = 2  # slices at once: more are no faster on two cores, and hold more memory
_OUTPUTS: Final = ("healthy", "mean", "sd", "distance")


class Progress(Protocol):
    """Told after every batch."""

    def __call__(self, done: int, total: int, /) -> None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What the engine gave, on the grid; 0 (sd: 1) in slices without brain.

    healthy:  (32, 224, 192) HU, what it thinks healthy
    mean, sd: (32, 224, 192) HU, of the residual of normals
    distance: (32,) of the encoder's features from those of normals
    """

    healthy: Image
    mean: Image
    sd: Image
    distance: Image


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What a head looks like to the network.

    z:        (32, 224, 192), signed, in SDs of normals
    features: the figures of the score; logit: the logistic's sum of them
    """

    answers: Answers
    z: Image
    features: dict[str, float]
    logit: float


def look(engine: Engine, stack: HeadStack, score: Score, progress: Callable[[int, int], None]) -> Look:
    """Run the network over every slice with brain in it. raises: ShapeOutsideProfile, EngineFailed"""
    shape = GRID.shape
    empty = Answers(
        healthy=np.zeros(shape, np.float32),
        mean=np.zeros(shape, np.float32),
        sd=np.ones(shape, np.float32),
        distance=np.zeros(shape[0], np.float32),
    )
    places = np.flatnonzero(stack.mask.any(axis=(1, 2)))
    return judged(stack, asked(engine, stack, places, empty, progress), score)


def judged(stack: HeadStack, answers: Answers, score: Score) -> Look:
    """Map, figures and logit of what the network answered."""
    z = z_map(stack, answers.healthy, answers.mean, answers.sd)
    normal = Normal(csf_mean=score.csf_mean, csf_sd=score.csf_sd)
    found = dict(features(stack, answers.healthy, z, answers.distance, normal))
    return Look(answers=answers, z=z, features=found, logit=score.logit(found))


def asked(
    engine: Engine, stack: HeadStack, places: NDArray[np.intp], before: Answers, progress: Callable[[int, int], None]
) -> Answers:
    """The answers for these slices of the grid, and those from before for all others.

    raises: ShapeOutsideProfile, EngineFailed when an answer has another shape or values that are no numbers
    """
    made = Answers(**{name: getattr(before, name).copy() for name in _OUTPUTS})
    clipped = np.where(stack.mask, np.clip(stack.hu, *RANGE_HU), np.float32(0.0))
    for first in range(0, len(places), BATCH):
        chosen = places[first : first + BATCH]
        around = np.clip(chosen[:, None] + np.arange(-1, 2), 0, len(clipped) - 1)
        feeds: dict[str, NDArray[Any]] = {
            "slices": np.ascontiguousarray(clipped[around]),
            "mask": stack.mask[chosen][:, None].astype(np.float32),
            "place": chosen.astype(np.int64),
        }
        replies = engine.infer(feeds)
        for name in _OUTPUTS:
            reply, target = replies[name], getattr(made, name)
            wanted = (len(chosen), 1, *GRID.shape[1:]) if name != "distance" else (len(chosen),)
            if reply.shape != wanted or not np.isfinite(reply).all():
                raise EngineFailed(
                    f"Engine {engine.spec.name} gave {reply.shape} for {name}, or values that are no numbers.",
                    fix="The network does not fit the pipeline; install the engine again.",
                )
            target[chosen] = reply[:, 0] if name != "distance" else reply
        progress(min(first + BATCH, len(places)), len(places))
    return made
