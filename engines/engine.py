"""What every engine promises, whichever library runs it.

EngineError
├── EngineMissing         specification or weights are not where they belong
├── BadSpec               the specification cannot be read or contradicts the weights
├── DigestMismatch        the weights are not the bytes that were validated
├── ShapeOutsideProfile   the feed does not fit; nothing was run
└── EngineFailed          the library gave up while running
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class EngineError(Exception):
    """Base of every engine error: the fact with its values, then the fix."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix


class EngineMissing(EngineError):
    """Specification or weights are not where they belong."""


class BadSpec(EngineError):
    """The specification cannot be read, or it contradicts the weights."""


class DigestMismatch(EngineError):
    """The weights are not the bytes that the specification names."""


class ShapeOutsideProfile(EngineError):
    """A feed that the engine does not take; said before any work on the device."""


class EngineFailed(EngineError):
    """The library that runs the network failed."""


class ValidationLevel(StrEnum):
    """How far the network was validated; `none` must never serve a clinical route."""

    NONE = "none"
    PHANTOM = "phantom"
    RETROSPECTIVE = "retrospective"
    PROSPECTIVE = "prospective"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a network.

    shape:       a number is fixed, a name is free and equal wherever the same name stands
    dtype:       as numpy spells it
    unit:        what a value means, for example HU
    multiple_of: free dimension -> what its length must be a multiple of
    longest:     the largest length that a free dimension may have
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    unit: str
    multiple_of: Mapping[str, int] = field(default_factory=dict)
    longest: int = 4096


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """A network as the node knows it; the .toml beside the weights.

    sha256:     of the ONNX file; nothing else is ever run under this name
    z_support:  neighbouring slices read on each side of the one that is made
    tolerances: output name -> largest difference between two backends on the same feed, in the output's unit
    folder:     where specs/ and weights/ lie
    """

    name: str
    version: str
    weights: str
    sha256: str
    validation_level: ValidationLevel
    z_support: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerances: Mapping[str, float] = field(default_factory=dict)
    folder: Path


class Engine(AbstractContextManager["Engine"], Protocol):
    """A loaded network. Entering it takes memory; leaving it gives the memory back."""

    @property
    def spec(self) -> EngineSpec:
        """What is loaded."""
        ...

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch.

        feeds:   contiguous arrays, named, shaped and typed as `spec.inputs`
        returns: arrays the caller owns; a later call never overwrites them
        raises:  ShapeOutsideProfile before any device work, EngineFailed after
        """
        ...


def check_feeds(spec: EngineSpec, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Say no to feeds that `spec` does not take.

    raises: ShapeOutsideProfile with the expected and the given shape
    """
    wanted = {tensor.name for tensor in spec.inputs}
    if set(feeds) != wanted:
        raise ShapeOutsideProfile(
            f"Engine {spec.name} takes {sorted(wanted)}, was given {sorted(feeds)}.",
            fix="Name the feeds as the engine's specification does.",
        )
    lengths: dict[str, int] = {}
    for tensor in spec.inputs:
        _check_feed(spec, tensor, feeds[tensor.name], lengths)


def _check_feed(spec: EngineSpec, tensor: TensorSpec, feed: NDArray[Any], lengths: dict[str, int]) -> None:
    told = f"Engine {spec.name}, input {tensor.name}: takes {tensor.dtype} {list(tensor.shape)}"
    for name, multiple in tensor.multiple_of.items():
        told += f", {name} a multiple of {multiple}"
    told += f", at most {tensor.longest}; was given {feed.dtype} {list(feed.shape)}."
    fix = "Pad and convert as pipelines.run does."
    if feed.dtype != np.dtype(tensor.dtype) or feed.ndim != len(tensor.shape) or 0 in feed.shape:
        raise ShapeOutsideProfile(told, fix=fix)
    for length, expected in zip(feed.shape, tensor.shape, strict=True):
        if isinstance(expected, int):
            fits = length == expected
        else:
            same = lengths.setdefault(expected, length) == length
            fits = same and length <= tensor.longest and length % tensor.multiple_of.get(expected, 1) == 0
        if not fits:
            raise ShapeOutsideProfile(told, fix=fix)
