"""What every engine promises, whichever library runs it.

EngineError
├── EngineMissing         specification or weights are not where they belong
├── BadSpec               the specification cannot be read or contradicts the weights
├── DigestMismatch        a file of the engine is not the bytes that were sealed
├── UnsafeWeights         the ONNX file asks for what no engine may do: files elsewhere, operators that are not allowed
├── BackendMissing        the library, the driver or the server that should run the network is not there
├── PlanRefused           a compiled plan is missing, or was made for something else
├── ParityFailed          the engine does not give what was recorded
├── NoRoom                the engine does not fit into the memory that all engines may hold
├── EngineUnavailable     the server that runs the network is away or too slow; the same call may work later
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
    """A specification, weights or recorded cases are not the bytes that were sealed."""


class UnsafeWeights(EngineError):
    """The ONNX file reaches outside its folder, or uses operators that are not allowed."""


class BackendMissing(EngineError):
    """What should run the network is not installed, has no device, or is not reachable at all."""


class PlanRefused(EngineError):
    """A compiled plan is missing, damaged, or made for another network, library version or device."""


class ParityFailed(EngineError):
    """The engine's answers to its recorded cases are further off than its specification allows."""


class NoRoom(EngineError):
    """The engine does not fit into the memory that all engines together may hold."""


class EngineUnavailable(EngineError):
    """What runs the network elsewhere does not answer now; the same call may succeed later."""


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


class Precision(StrEnum):
    """Arithmetic that a network passed its acceptance in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lengths that a free dimension may have; `optimum` is what engines are tuned and timed for."""

    minimum: int
    optimum: int
    maximum: int


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a network.

    shape:       a number is fixed, a name is free and equal wherever the same name stands
    dtype:       as numpy spells it
    unit:        what a value means, for example HU
    multiple_of: free dimension -> what its length must be a multiple of
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    unit: str
    multiple_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """A network as the node knows it; the .toml beside the weights.

    sha256:     of the ONNX file; nothing else is ever run under this name
    z_support:  neighbouring slices read on each side of the one that is made
    profile:    free dimension -> the lengths it may have; every free name of the shapes stands here
    tolerances: output name -> largest difference between two backends on the same feed, in the output's unit
    accepted:   the arithmetic that the network passed its acceptance in; a quantized graph needs int8 here
    folder:     where SHA256SUMS, specs/, weights/ and cases/ lie
    """

    name: str
    version: str
    weights: str
    sha256: str
    validation_level: ValidationLevel
    z_support: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profile: Mapping[str, Bounds]
    tolerances: Mapping[str, float]
    accepted: tuple[Precision, ...] = (Precision.FP32,)
    folder: Path

    def shape_at(self, tensor: TensorSpec, which: str = "optimum") -> tuple[int, ...]:
        """The shape of `tensor` with every free length at its `minimum`, `optimum` or `maximum`."""
        return tuple(
            length if isinstance(length, int) else int(getattr(self.profile[length], which)) for length in tensor.shape
        )


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
    for name in dict.fromkeys(length for length in tensor.shape if isinstance(length, str)):
        bounds, multiple = spec.profile[name], tensor.multiple_of.get(name, 1)
        step = f" in steps of {multiple}" if multiple > 1 else ""
        told += f", {name} from {bounds.minimum} to {bounds.maximum}{step}"
    told += f"; was given {feed.dtype} {list(feed.shape)}."
    fix = "Pad and convert as pipelines.run does."
    if feed.dtype != np.dtype(tensor.dtype) or feed.ndim != len(tensor.shape) or 0 in feed.shape:
        raise ShapeOutsideProfile(told, fix=fix)
    for length, expected in zip(feed.shape, tensor.shape, strict=True):
        if isinstance(expected, int):
            fits = length == expected
        else:
            bounds = spec.profile[expected]
            fits = (
                lengths.setdefault(expected, length) == length
                and bounds.minimum <= length <= bounds.maximum
                and length % tensor.multiple_of.get(expected, 1) == 0
            )
        if not fits:
            raise ShapeOutsideProfile(told, fix=fix)
