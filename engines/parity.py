"""Known answers: what an engine gave when it was validated, and whether it still gives that (NETWORKS E-13).

The cases are made by code from a phantom, so that no patient is in them. Expected is what ONNX Runtime gave on the CPU
in the arithmetic of the ONNX file; the bounds are the tolerances of the specification.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import BadSpec, Engine, EngineSpec, ParityFailed, check_feeds
from engines.phantom import feeds_of
from engines.store import read_cases, seal, write_synced

_CASES = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Feeds and what they must give: tensor name -> array, shaped and typed as the specification says."""

    name: str
    feeds: Mapping[str, NDArray[Any]]
    expected: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one output of one case is off, in the output's unit; infinite for another shape or a value not finite."""

    case: str
    output: str
    worst: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether it is within the bound."""
        return self.worst <= self.limit

    def __str__(self) -> str:
        return f"{self.case}, {self.output}: {self.worst:.3g} (at most {self.limit:g})"


def recorded_cases(spec: EngineSpec) -> tuple[Case, ...]:
    """The cases that were recorded for `spec`. Raises EngineMissing, DigestMismatch, BadSpec if they do not fit it."""
    data = read_cases(spec)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found: dict[str, dict[str, dict[str, NDArray[Any]]]] = {}
            for key in arrays.files:
                case, kind, tensor = key.split("/")
                found.setdefault(case, {"feeds": {}, "expected": {}})[kind][tensor] = arrays[key]
        cases = tuple(Case(name=name, **parts) for name, parts in sorted(found.items()))
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise BadSpec(
            f"The recorded cases of engine {spec.name} cannot be understood: {type(error).__name__}.",
            fix=f"Record them again: imaging-node engines record {spec.name}",
        ) from error
    outputs = {tensor.name for tensor in spec.outputs}
    if not cases or any(set(case.expected) != outputs for case in cases):
        raise BadSpec(
            f"The recorded cases of engine {spec.name} do not give its outputs {sorted(outputs)}.",
            fix=f"Record them again: imaging-node engines record {spec.name}",
        )
    for case in cases:
        check_feeds(spec, case.feeds)
    return cases


def made_cases(engine: Engine) -> tuple[Case, ...]:
    """Cases from the phantom, with what `engine` gives for them. Raises ShapeOutsideProfile, EngineFailed."""
    cases = []
    for index in range(_CASES):
        feeds = feeds_of(engine.spec, index)
        cases.append(Case(name=f"phantom-{index}", feeds=feeds, expected=engine.infer(feeds)))
    return tuple(cases)


def packed(cases: Sequence[Case]) -> bytes:
    """The file that `recorded_cases` reads; the same cases give the same bytes."""
    arrays = {}
    for case in cases:
        for kind, tensors in (("feeds", case.feeds), ("expected", case.expected)):
            arrays.update({f"{case.name}/{kind}/{name}": array for name, array in sorted(tensors.items())})
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its second keyword, allow_pickle, is none of ours
    return file.getvalue()


def record(spec: EngineSpec, *, threads: int = 2) -> tuple[Case, ...]:
    """Run the phantom through ONNX Runtime on the CPU, write cases/<name>.npz and seal that file.

    For an export step and for `imaging-node engines record`: whoever records vouches for the weights.
    """
    from engines.ort import OrtEngine  # the reference; a node on another backend need not load it

    with OrtEngine(spec, threads=threads) as engine:
        cases = made_cases(engine)
    folder = spec.folder / "cases"
    folder.mkdir(exist_ok=True)
    write_synced(folder / f"{spec.name}.npz", packed(cases))
    seal(spec.folder, [f"cases/{spec.name}.npz"])
    return cases


def compare(engine: Engine, cases: Sequence[Case]) -> tuple[Difference, ...]:
    """Run every case; one difference for each of its outputs. Raises ShapeOutsideProfile, EngineFailed."""
    return tuple(
        Difference(
            case=case.name,
            output=name,
            worst=_worst(given[name], expected),
            limit=engine.spec.tolerances[name],
        )
        for case in cases
        for given in (engine.infer(case.feeds),)
        for name, expected in case.expected.items()
    )


def require(engine: Engine, cases: Sequence[Case] | None = None) -> tuple[Difference, ...]:
    """`compare` with the recorded cases, and all must pass.

    cases:  default: read and digest-checked now
    raises: ParityFailed with every figure that is out of its bound
    """
    spec = engine.spec
    differences = compare(engine, recorded_cases(spec) if cases is None else cases)
    if missed := [str(difference) for difference in differences if not difference.passed]:
        raise ParityFailed(
            f"Engine {spec.name} {spec.version} does not give what was recorded: {'; '.join(missed)}.",
            fix="It must not run like this: try backend ort; if that fails too, install the engine again.",
        )
    return differences


def _worst(given: NDArray[Any], expected: NDArray[Any]) -> float:
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return float("inf")
    difference = np.abs(given.astype(np.float64) - expected.astype(np.float64))
    worst = float(np.max(difference, initial=0.0))
    return worst if np.isfinite(worst) else float("inf")
