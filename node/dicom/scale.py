"""From the values of a result to the stored values of a derived image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from node.dicom import geometry, part10
from node.dicom.source_slices import Source
from node.dicom.whole import Whole
from node.errors import Refuse

_DESCRIBING = (0x00280100, 0x00280101, 0x00280103, 0x00280120, 0x00280121, 0x00281052, 0x00281053)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the stored values of an image mean, and which there are.

    slope, intercept: value = stored * slope + intercept, in HU for CT and in the source's own unit for MR
    lowest, highest:  of what Bits Stored and Pixel Representation can hold
    padding:          the stored values that say that there is nothing, both ends included; None without any
    """

    slope: float
    intercept: float
    lowest: int
    highest: int
    padding: tuple[int, int] | None

    @property
    def signed(self) -> bool:
        return self.lowest < 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<i2" if self.signed else "<u2")

    @classmethod
    def of(cls, source: Source) -> Self:
        """The scale of a source. A CT has one; an MR without any has its stored values for values.

        raises: Refuse if a value is missing or can't be read
        """
        header = source.dataset
        try:
            bits, representation = (int(part10.text(header, key)) for key in ("BitsStored", "PixelRepresentation"))
            if not 1 <= bits <= 16 or part10.text(header, "BitsAllocated") != "16":
                raise Refuse(f"{bits} bits are stored; the node writes up to 16 in 16.")
            stated = {
                keyword: part10.values(header, keyword) or ("1" if keyword == "RescaleSlope" else "0",) * optional
                for keyword in ("RescaleSlope", "RescaleIntercept")
                for optional in (source.modality == "MR",)
            }
            (slope,) = geometry.numbers(stated, "RescaleSlope", 1)
            (intercept,) = geometry.numbers(stated, "RescaleIntercept", 1)
        except ValueError as error:
            raise Refuse("A value that describes the pixels is missing or unreadable.") from error
        if slope == 0:
            raise Refuse("Rescale Slope is 0: every voxel would have the same value.")
        signed = representation == 1
        value, limit = (_word(part10.raw(header, tag), signed) for tag in (0x00280120, 0x00280121))
        return cls(
            slope=slope,
            intercept=intercept,
            lowest=-(1 << bits - 1) if signed else 0,
            highest=(1 << bits - 1) - 1 if signed else (1 << bits) - 1,
            padding=None if value is None else _ends(value, value if limit is None else limit),
        )


class Scales:
    """The scales of a series, slice by slice.

    A CT keeps the scale of each source. An MR image states none, so that all slices of a series have to share one: that
    of the sources where they agree, else the finest one that holds what any of them can hold.
    """

    def __init__(self, sources: Sequence[Source], *, stated: bool = False, whole: Whole | None = None) -> None:
        """Read them.

        stated: each image states its own, as a frame of an Enhanced MR does
        whole:  of a result whose values may lie beyond those of its sources: where the bits of the sources do not hold
                them, all slices are stored in 16
        raises: Refuse if 16 bits do not hold them either
        """
        known: dict[tuple[bytes | None, ...], Scale] = {}
        self._all: list[Scale] = []
        for source in sources:
            key = tuple(getattr(source.elements.get(tag), "value", None) for tag in _DESCRIBING)
            if key not in known:
                known[key] = Scale.of(source)
            self._all.append(known[key])
        if sources[0].modality == "MR" and len(known) > 1 and not stated:
            self._all = [_spanning(list(known.values()))] * len(sources)
        self.bits: int | None = None  # stored where it is not what the sources say
        if whole is not None and not all(map(_holds, self._all, _ranges(whole, len(sources)))):
            self.bits, self._all = 16, [_in_16_bits(scale) for scale in self._all]
            if not all(map(_holds, self._all, _ranges(whole, len(sources)))):
                highest = float(np.nanmax(whole.highest))
                raise Refuse(f"The result reaches {highest:g}, which 16 bits in the unit of its source do not hold.")

    def __getitem__(self, index: int) -> Scale:
        return self._all[index]


def _ranges(whole: Whole, slices: int) -> list[tuple[float, float]]:
    """Lowest and highest value of the images in the place of each source slice; NaN where there is only padding."""
    lowest, highest = whole.lowest.reshape(slices, -1), whole.highest.reshape(slices, -1)
    return [
        (float(np.fmin.reduce(low)), float(np.fmax.reduce(high))) for low, high in zip(lowest, highest, strict=True)
    ]


def _holds(scale: Scale, ends: tuple[float, float]) -> bool:
    """Whether the bits hold these values; what an unsigned image has below its lowest one is noise, and is cut off."""
    stored = [float(np.rint((value - scale.intercept) / scale.slope)) for value in ends if np.isfinite(value)]
    return all(value <= scale.highest and (value >= scale.lowest or not scale.signed) for value in stored)


def _in_16_bits(scale: Scale) -> Scale:
    lowest, highest = (-(1 << 15), (1 << 15) - 1) if scale.signed else (0, (1 << 16) - 1)
    return replace(scale, lowest=lowest, highest=highest)


def _spanning(scales: Sequence[Scale]) -> Scale:
    first = scales[0]
    bits = {(scale.lowest, scale.highest, scale.padding) for scale in scales}
    if len(bits) > 1:
        raise Refuse("The sources store their values in different bits or with different padding.")
    if all((scale.slope, scale.intercept) == (first.slope, first.intercept) for scale in scales):
        return first
    ends = [value * scale.slope + scale.intercept for scale in scales for value in (scale.lowest, scale.highest)]
    slope = (max(ends) - min(ends)) / (first.highest - first.lowest)
    return Scale(
        slope=slope,
        intercept=min(ends) - first.lowest * slope,
        lowest=first.lowest,
        highest=first.highest,
        padding=first.padding,
    )


def to_stored(
    values: NDArray[np.float32],
    scale: Scale,
    *,
    nothing: NDArray[np.bool_] | None,
    was: NDArray[Any] | int = 0,
    scratch: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """Turn values into stored ones, rounded and clipped to what the bits can hold.

    values:  (y, x), finite
    nothing: (y, x), where the source has padding; None if the scale has none
    was:     what the source stored there: (y, x), or one value
    scratch: (y, x), overwritten; spares taking memory for each slice of a series
    returns: (y, x), int16 or uint16, little endian; padding of the source stands exactly where it stood, and no other
             pixel takes a padding value
    raises:  Refuse if a voxel is not finite
    """
    scaled = np.subtract(values, scale.intercept, out=scratch, dtype=np.float64)
    if scale.slope != 1:
        scaled /= scale.slope
    low, high = float(scaled.min()), float(scaled.max())  # a NaN anywhere is the minimum
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Refuse(f"{int(np.count_nonzero(~np.isfinite(values)))} voxels of a slice are not finite.")
    np.rint(scaled, out=scaled)
    if low < scale.lowest or high > scale.highest:
        np.clip(scaled, scale.lowest, scale.highest, out=scaled)
    stored = scaled.astype(scale.dtype)
    if scale.padding is not None and nothing is not None:
        _leave_padding(stored, scale)
        np.copyto(stored, was, where=nothing, casting="unsafe")
    return stored


def _leave_padding(stored: NDArray[Any], scale: Scale) -> None:
    """Move pixels that by chance took a padding value to the nearest value that is none: they do show something."""
    assert scale.padding is not None
    low, high = scale.padding
    taken = (stored >= low) & (stored <= high)
    if not taken.any():
        return
    free = [value for value in (low - 1, high + 1) if scale.lowest <= value <= scale.highest]
    if not free:
        raise Refuse(f"Padding covers every value from {low} to {high}.")
    stored[taken] = np.where(stored[taken] < (low + high) / 2, free[0], free[-1])


def _word(value: bytes | None, signed: bool) -> int | None:
    # Writers confuse US and SS here; Pixel Representation says what the two bytes mean (PS3.5 A.1).
    if not value:
        return None
    if len(value) != 2:
        raise Refuse(f"A padding element has {len(value)} bytes, not 2.")
    return int.from_bytes(value, "little", signed=signed)


def _ends(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
