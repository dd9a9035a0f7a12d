"""The classic form: one CT or MR image for each slice of a result.

What a series says alike is encoded once, what a source repeats is recognised by its bytes, and only the rest is made
for each slice. Every file is checked before it gets its name: some by all assertions of `validate`, the others by
comparison with the last of these.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.dicom import codes, frames, keep, overlay, part10, pixels, provenance, template, validate
from node.dicom.alike import Alike
from node.dicom.job import Job
from node.dicom.places import Places, decimal
from node.dicom.scale import Scale, Scales, to_stored
from node.dicom.source_slices import Source
from node.dicom.whole import Whole
from node.errors import Refuse

_BITS_STORED, _HIGH_BIT = 0x00280101, 0x00280102
_WINDOW = 0x00281050, 0x00281051  # centre and width
_SPACING = 0x00180050, 0x00180088  # Slice Thickness, Spacing Between Slices
CHECKED_IN_FULL = 64  # every so many images one meets every assertion, besides the first and the last


class ClassicSeries:
    """The images of one job, in any order and any number of times.

    sources: in geometric order, all of one study and series
    whole:   figures of the result, where the kind of image needs them
    """

    def __init__(self, job: Job, sources: Sequence[Source], study_uid: str, whole: Whole | None = None) -> None:
        self.job, self.sources, self.whole = job, sources, whole
        self.places, self._row = Places(job, sources), codes.OUTPUTS[job.kind]
        self.sop_class_uid = codes.CLASSIC[sources[0].modality]
        self.scales = Scales(sources, whole=whole)
        said = provenance.common(job, sources, study_uid, sop_class_uid=self.sop_class_uid)
        for keyword, text in job.elements.items():
            setattr(said, keyword, text)
        self._common = template.encode(said) | self._of_the_kind()
        self._images = provenance.Images(job, sources, study_uid, self.places)
        self._keeper = keep.Keeper(keep.form(self._row))
        self._checks = validate.Series(job=job, sources=sources)
        self._alike = Alike(self._checks)
        self._scratch: NDArray[np.float64] | None = None

    def header(self, index: int) -> tuple[bytes, bytes]:
        """File Meta Information with what precedes it, and the data set up to the value of Pixel Data.

        index:  1..N in geometric order
        raises: Refuse if the image would break an assertion
        """
        at = self.places.source(index)
        source, scale = self.sources[at], self.scales[at]
        elements = self._keeper.encoded(source.elements, source.dataset, signed=scale.signed)
        if source.modality == "MR" and not self._row.rescaled:
            elements |= window(source, scale)
        elements |= self._common
        own = self._images.of(index)
        elements |= own
        uid = own[0x00080018][8:].rstrip(b"\0").decode("ascii")
        head, body = template.head(uid, self.sop_class_uid), template.data_set(elements)
        total = self.places.count
        if index in (1, total) or index % CHECKED_IN_FULL == 0 or not self._alike.has_model:
            if not (wrong := self._checks.image(part10.parse(head + body), index)):
                self._alike.learn(body)
        else:
            wrong = self._alike.image(head, body, index)
        if wrong:
            raise Refuse(f"Image {index} of {total} breaks what a derived image must hold: {'; '.join(wrong[:5])}.")
        return head, body

    def _of_the_kind(self) -> dict[int, bytes]:
        """What a kind of image says of its pixels and its place, alike in all images of a series."""
        element, said = template.element, dict[int, bytes]()
        if self.scales.bits is not None:
            said[_BITS_STORED] = element(_BITS_STORED, "US", struct.pack("<H", self.scales.bits))
            said[_HIGH_BIT] = element(_HIGH_BIT, "US", struct.pack("<H", self.scales.bits - 1))
        if self._row.rescaled:
            if self.whole is None:
                raise Refuse(f"The window of {self.job.kind} is that of its own voxels, and they are not known.")
            scale, (centre, width) = self.scales[0], self.whole.window
            stored = (centre - scale.intercept) / scale.slope, max(1.0, width / abs(scale.slope))
            for tag, number in zip(_WINDOW, stored, strict=True):
                said[tag] = element(tag, "DS", f"{number:.10g}")
        if self.places.finer is not None:
            for tag in _SPACING:
                said[tag] = element(tag, "DS", decimal(self.places.finer.spacing_mm))
        if self._row.overlay:
            first = self.sources[0].dataset
            rows, columns = (int(part10.text(first, keyword)) for keyword in ("Rows", "Columns"))
            said |= overlay.elements(self._row.overlay, rows, columns)
        return said

    def pixels(self, index: int, values: NDArray[np.float32], nothing: NDArray[np.bool_] | None) -> NDArray[Any]:
        """Stored values of image `index` from those of the result, (y, x).

        nothing: (y, x), where the decoder found padding; None to look at the source's own pixels
        raises:  Refuse as `to_stored`
        """
        if self._scratch is None or self._scratch.shape != values.shape:
            self._scratch = np.empty(values.shape)
        at = self.places.source(index)
        return stored(self.sources[at], self.scales[at], np.asarray(values), nothing, self._scratch)


def stored(
    source: Source,
    scale: Scale,
    values: NDArray[np.float32],
    nothing: NDArray[np.bool_] | None,
    scratch: NDArray[np.float64],
) -> NDArray[Any]:
    """Stored values of one slice; the source's own pixels are decoded only where nobody else knows its padding."""
    if scale.padding is None:
        return to_stored(values, scale, nothing=None, scratch=scratch)
    low, high = scale.padding
    if nothing is not None and low == high:
        return to_stored(values, scale, nothing=nothing, was=low, scratch=scratch)
    was, _, _ = pixels.pixel_values(frames.view(part10.read(source.path), source.frame))
    return to_stored(values, scale, nothing=(was >= low) & (was <= high), was=was, scratch=scratch)


def window(source: Source, scale: Scale) -> dict[int, bytes]:
    """The window of an MR source in stored values, as it is meant where there is no rescale (PS3.3 C.11.2.1.2)."""
    if (scale.slope, scale.intercept) == (1, 0):
        return {}
    made = {}
    for tag, keyword, offset in (
        (0x00281050, "WindowCenter", scale.intercept),
        (0x00281051, "WindowWidth", 0.0),
    ):
        try:
            numbers = [(float(value) - offset) / scale.slope for value in part10.values(source.dataset, keyword) or ()]
        except ValueError as error:
            raise Refuse(f"{keyword} is not a number.") from error
        if numbers:
            made[tag] = template.element(tag, "DS", "\\".join(f"{number:.10g}" for number in numbers))
    return made


def pixel_element(values: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Tag, VR and length of Pixel Data (7FE0,0010), and its value, of even length as 16-bit words are."""
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, values.nbytes), values.data
