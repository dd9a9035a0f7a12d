"""Inputs made by code for the recorded cases: a slice through a body that does not exist, with noise. Whole numbers of
HU, because they are small when compressed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec, TensorSpec
from engines.kernel import Kernel, convert_linear, descriptor

_LENGTHS: Final = ({"y": 128, "x": 128}, {"y": 96, "x": 160})  # not square: a transposed image must not pass
_OF_MANY: Final = ({"y": 64, "x": 64}, {"y": 64, "x": 80})  # of engines with many planes: they are kept with the code
_MOST_PLANES: Final = 8
_PIXEL_MM: Final = 0.7
_SHARP: Final = Kernel(cutoff=1.1, boost=0.6)
_SOFT: Final = Kernel(cutoff=0.75)


def feeds_of(spec: EngineSpec, index: int) -> dict[str, NDArray[Any]]:
    """Feeds number `index` (0 or 1) for an engine: slices for inputs in HU, else numbers between 0 and 1."""
    generator = np.random.default_rng([index, *spec.name.encode()])
    if (special := _SPECIAL.get(spec.name)) is not None:
        return dict(special(spec, index, generator))
    return {tensor.name: _feed(spec, tensor, index, generator) for tensor in spec.inputs}


def body(y: int, x: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """A slice of a body: tissue, a lung, fat, bone, a small lesion and coloured noise of 20 HU; (y, x) HU."""
    rows, columns = np.mgrid[-1.0 : 1.0 : y * 1j, -1.0 : 1.0 : x * 1j]
    hu = np.full((y, x), -1000.0)
    for cy, cx, ry, rx, value in (
        (0.0, 0.0, 0.9, 0.92, -100.0),
        (0.0, 0.0, 0.82, 0.84, 45.0),
        (-0.1, -0.42, 0.42, 0.26, -860.0),
        (0.15, 0.35, 0.3, 0.25, 90.0),
        (0.2, 0.4, 0.05, 0.04, 60.0),
        (0.6, 0.0, 0.14, 0.12, 700.0),
    ):
        hu[((rows - cy) / ry) ** 2 + ((columns - cx) / rx) ** 2 < 1.0] = value
    noise = generator.normal(0.0, 20.0, (y, x))
    noise = noise - 0.35 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    return np.rint(np.clip(hu + noise, -1024.0, 3071.0)).astype(np.float32)


def _feed(spec: EngineSpec, tensor: TensorSpec, index: int, generator: np.random.Generator) -> NDArray[Any]:
    shape = _shape(spec, tensor, index)
    dtype = np.dtype(tensor.dtype)
    if tensor.unit == "HU" and len(shape) >= 2:
        slices = [body(shape[-2], shape[-1], generator) for _ in range(int(np.prod(shape[:-2])))]
        return np.stack(slices).reshape(shape).astype(dtype)
    values = generator.random(shape)
    return (values if dtype.kind == "f" else values < 0.5).astype(dtype)


def _shape(spec: EngineSpec, tensor: TensorSpec, index: int) -> tuple[int, ...]:
    """Free lengths near those above, inside the profile; a batch is as small as it may be."""
    images = [tensor.shape[1] for tensor in (*spec.inputs, *spec.outputs) if len(tensor.shape) == 4]
    planes = sum(one for one in images if isinstance(one, int))
    lengths = _OF_MANY if planes > _MOST_PLANES else _LENGTHS
    shape = []
    for length in tensor.shape:
        if isinstance(length, str):
            bounds, step = spec.profile[length], tensor.multiple_of.get(length, 1)
            wanted = lengths[index % len(lengths)].get(length, bounds.minimum)
            length = min(max(wanted // step * step, bounds.minimum), bounds.maximum)
        shape.append(length)
    return tuple(shape)


def _kernel(spec: EngineSpec, index: int, generator: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Sharp to soft, then soft to sharp; the linear part is the one that the pipeline would make."""
    source, target = (_SHARP, _SOFT) if index == 0 else (_SOFT, _SHARP)
    image = _feed(spec, spec.inputs[0], index, generator)
    linear = convert_linear(image[0, 0], source, target, _PIXEL_MM)
    return {
        "hu": image,
        "linear": np.rint(linear)[None, None],
        "kernels": descriptor(source, target, _PIXEL_MM)[None],
    }


def _contrast(spec: EngineSpec, index: int, generator: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """White matter near 1, air near 0; the second case has no FLAIR."""
    shape = _shape(spec, spec.inputs[0], index)
    feeds = {}
    for number, tensor in enumerate(spec.inputs[:3]):
        slices = [np.rint((body(shape[-2], shape[-1], generator) + 1024.0) / 32.0) / 32.0 for _ in range(shape[1])]
        there = 0.0 if index == 1 and number == 2 else 1.0
        feeds[tensor.name] = (there * np.stack(slices)[None]).astype(np.float32)
    return {**feeds, spec.inputs[3].name: np.array([[1.0, 1.0, 1.0 - index]], dtype=np.float32)}


def _superres(spec: EngineSpec, index: int, generator: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Slices of tissue near 0.3 and vessels above it that wander from slice to slice; whole 256ths."""
    (tensor,) = spec.inputs
    shape = _shape(spec, tensor, index)
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    slices = 0.1 + 0.2 * np.clip((body(shape[2], shape[3], generator) + 1024.0) / 1024.0, 0.0, 1.2)
    made = np.repeat(slices[None], shape[1], axis=0)
    for y, x, down, right, radius in (
        (0.3, 0.4, 3.0, 1.0, 2.0),
        (0.6, 0.5, -1.0, 4.0, 3.0),
        (0.5, 0.7, 0.0, -8.0, 1.0),
    ):
        for number, image in enumerate(made):
            away = np.hypot(rows - shape[2] * y - down * number, columns - shape[3] * x - right * number)
            image += 0.7 * np.clip(radius + 0.5 - away, 0.0, 1.0)
    return {tensor.name: (np.rint(made * 256.0) / 256.0)[None].astype(np.float32)}


def _triage(spec: EngineSpec, index: int, generator: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """A brain of whole HU with ventricles and a bleeding, nothing outside of it; another place of the grid each."""
    rows, columns = spec.inputs[0].shape[2:]
    assert isinstance(rows, int)
    assert isinstance(columns, int)
    down, right = np.mgrid[-1.0 : 1.0 : rows * 1j, -1.0 : 1.0 : columns * 1j]
    mask = (down / 0.5) ** 2 + (right / 0.45) ** 2 < 1.0
    hu = np.full((3, rows, columns), 32.0)
    for y, x, high, wide, value in (
        (-0.05, -0.12, 0.3, 0.06, 6.0),
        (-0.05, 0.12, 0.3, 0.06, 6.0),
        (0.2, 0.3, 0.1, 0.12, 65.0),
    ):
        hu[:, ((down - y) / high) ** 2 + ((right - x) / wide) ** 2 < 1.0] = value
    hu = np.rint(hu + generator.normal(0.0, 4.0, hu.shape)) * mask
    return {
        "slices": hu[None].astype(np.float32),
        "mask": mask[None, None].astype(np.float32),
        "place": np.array([12 + 7 * index], dtype=np.int64),
    }


_SPECIAL: Final[Mapping[str, Callable[[EngineSpec, int, np.random.Generator], Mapping[str, NDArray[Any]]]]] = {
    "ct_kernel": _kernel,
    "head_ct_triage": _triage,
    "mr_postcontrast": _contrast,
    "mra_superres": _superres,
}
