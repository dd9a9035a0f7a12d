"""The assertions on a derived image by comparison with one of its series that met all of `validate`.

What is the same bytes in both was judged there. What differs has to be what the slice's own source says, or one of the
few elements that are made for each image; these are looked at here. No byte of a header is skipped.
"""

from collections.abc import Iterator, Mapping
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from node.dicom import codes, keep, part10, raw, template, uids
from node.dicom.claims import name_of
from node.dicom.job import Named
from node.dicom.part10 import Element
from node.dicom.places import LOCATION, POSITION, Finer
from node.dicom.provenance import code_item
from node.dicom.source_slices import Source
from node.dicom.validate import Series, comments

# What may differ between two images of a series without having come from their sources.
_OWN = keep.tags(
    "SOPInstanceUID SourceImageSequence ContributingEquipmentSequence InstanceNumber ImageComments "
    "LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
)
_WINDOW = keep.tags("WindowCenter WindowWidth")  # of an MR, restated in stored values
_PLACE = frozenset((POSITION, LOCATION))  # of an image between the slices of its source
_SOP_INSTANCE, _INSTANCE_NUMBER, _SOURCE_IMAGES, _EQUIPMENT = 0x00080018, 0x00200013, 0x00082112, 0x0018A001
_LOSSY, _RATIO, _METHOD, _COMMENTS = 0x00282110, 0x00282112, 0x00282114, 0x00204000


class Alike:
    """The comparison for one series; `checks`: its assertions."""

    def __init__(self, checks: Series) -> None:
        self._checks, self._job, self._sources = checks, checks.job, checks.sources
        self._model: dict[int, bytes] = {}
        self._references: dict[tuple[Named, bool], bytes] = {}
        self._purpose = template.sequence(
            0x0040A170, [template.data_set(template.encode(code_item(codes.SOURCE_IMAGE)))]
        )
        device = codes.model_device_uid(self._job.model, self._job.model_version, self._job.weights_sha256)
        self._network = template.element(0x00181002, "UI", device)
        restated = checks.modality == "MR" and not checks.row.rescaled
        self._own = _OWN | (_WINDOW if restated else frozenset()) | (_PLACE if checks.row.finer else frozenset())
        self._form = keep.form(checks.row)
        self._verbatim = tuple(sorted(keep.tags(*checks.verbatim)))
        self._finer = Finer.of(self._sources, self._job.factor) if checks.row.finer else None
        self._signed = part10.text(self._sources[0].dataset, "PixelRepresentation") == "1"
        self._may_be_empty = keep.tags("Laterality InversionTime", *keep.CLASSIC[checks.modality].type_2)

    @property
    def has_model(self) -> bool:
        """Whether there is an image to compare with."""
        return bool(self._model)

    def learn(self, body: bytes) -> None:
        """Take an image that met every assertion; `body`: its data set up to the value of Pixel Data."""
        self._model = raw.values(body)

    def image(self, head: bytes, body: bytes, index: int) -> list[str]:
        """Violations of image `index` (1..N), as facts without patient data; empty when it may leave.

        head, body: the bytes that are to be written, up to the value of Pixel Data
        """
        try:
            values = raw.values(body)
        except raw.Unusual as unusual:
            return [f"the data set is not what was meant: {unusual}"]
        source = self._sources[self._checks.claims.at(index)]
        return [
            *self._changes(values, source),
            *self._identity(head, values, index),
            *self._source_images(values.get(_SOURCE_IMAGES, b""), index),
            *self._place(values, index),
            *self._says(values, source),
            *self._checks.claims.rises(index),
        ]

    def _changes(self, values: Mapping[int, bytes], source: Source) -> Iterator[str]:
        model, theirs = self._model, source.elements
        for tag, value in values.items():
            if tag in self._own or model.get(tag) == value:
                continue
            known = theirs.get(tag)
            if tag == keep.BODY_PART and keep.lacks_body_part(source.dataset, self._form):
                if value.strip() != self._form.body_part.encode("ascii"):
                    yield f"{_shown(tag)} is not what the node says"
            elif tag in self._form.dropped or not keep.is_kept(tag) or (known is None and self._needs(tag, value)):
                yield f"{_shown(tag)} is not what the series says"
            elif known is not None and not _says_the_same(tag, known, value, signed=self._signed):
                yield f"{_shown(tag)} is not what the source says"
        for tag in model.keys() - values.keys() - self._own:
            if not keep.is_kept(tag) or tag in theirs or tag == keep.BODY_PART:
                yield f"{_shown(tag)} is missing"
        for tag in self._verbatim:
            if not _same(values.get(tag), getattr(theirs.get(tag), "value", None)):
                yield f"{_shown(tag)} is not that of the source"

    def _needs(self, tag: int, value: bytes) -> bool:
        """Whether an element can only have come from a source; a few may stand there, empty, without one."""
        return bool(value) or tag not in self._may_be_empty

    def _identity(self, head: bytes, values: Mapping[int, bytes], index: int) -> Iterator[str]:
        uid = values.get(_SOP_INSTANCE, b"").removesuffix(b"\0").decode("latin-1")
        yield from self._checks.identifies(uid, index)
        if not uids.is_well_formed(uid) or head != template.head(uid, codes.CLASSIC[self._checks.modality]):
            yield "File Meta Information and data set do not agree"
        if values.get(_INSTANCE_NUMBER, b"").strip() != str(index).encode("ascii"):
            yield f"Instance Number is not {index}"

    def _source_images(self, value: bytes, index: int) -> Iterator[str]:
        """The items as `provenance` packs them: class, instance, frame if it is one, preserved, purpose."""
        named, at = [], 0
        while at + 8 <= len(value):
            length = int.from_bytes(value[at + 4 : at + 8], "little")
            named.append(value[at + 8 : at + 8 + length])
            at += 8 + length
        wanted = {self._reference(name, same): name for name, same in self._checks.claims.named(index).items()}
        if wanted.get(b"".join(named[:1])) != name_of(self._sources[self._checks.claims.at(index)]):
            yield "the first source image is not the slice in its place"
        if at != len(value) or sorted(named) != sorted(wanted):
            yield "the source images are not those within the z-support"
        elif self._finer is not None:
            yield from self._checks.claims.between([wanted[one] for one in named], index)

    def _reference(self, name: Named, same: bool) -> bytes:
        if (name, same) not in self._references:
            element, (class_uid, instance_uid, frame) = template.element, name
            self._references[name, same] = (
                element(0x00081150, "UI", class_uid)
                + element(0x00081155, "UI", instance_uid)
                + (element(0x00081160, "IS", str(frame)) if frame else b"")
                + element(0x0028135A, "CS", "YES" if same else "NO")
                + self._purpose
            )
        return self._references[name, same]

    def _place(self, values: Mapping[int, bytes], index: int) -> Iterator[str]:
        if self._finer is None:
            return
        position = values.get(POSITION, b"").decode("latin-1")
        yield from self._checks.claims.place([one.strip() for one in position.split("\\")], index)
        if values.get(LOCATION, b"") != self._finer.elements(index).get(LOCATION, b"")[8:]:
            yield "Slice Location is not that of the image"

    def _says(self, values: Mapping[int, bytes], source: Source) -> Iterator[str]:
        if self._network not in values.get(_EQUIPMENT, b""):
            yield "Contributing Equipment does not name the network"
        lossy = part10.text(source.dataset, "LossyImageCompression") == "01"
        if values.get(_LOSSY) != (b"01" if lossy else b"00"):
            yield "Lossy Image Compression is not what the source says"
        if lossy and not (values.get(_RATIO) and values.get(_METHOD)):
            yield "Lossy Image Compression is 01 without ratio and method"
        comment = values.get(_COMMENTS)
        yield from comments(self._job, comment or b"")
        if not (self._job.cautions or self._checks.row.comment) and not _same(
            comment, getattr(source.elements.get(_COMMENTS), "value", None)
        ):
            yield "Image Comments are not those of the source"


def _says_the_same(tag: int, known: Element, value: bytes, *, signed: bool) -> bool:
    if isinstance(known, RawDataElement) and not _is_sequence(tag):
        return _same(known.value, value)
    taken = template.encode(part10.dataset_of({BaseTag(tag): keep.written(BaseTag(tag), known, signed)}))
    return taken[tag][12:] == value  # a sequence is written anew, with defined lengths and without private elements


@cache
def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


def _same(one: bytes | None, other: bytes | None) -> bool:
    """Whether two values are the same but for the byte that makes a length even."""
    one, other = one or b"", other or b""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    return len(long) == len(short) + 1 and len(short) % 2 == 1 and long[:-1] == short and long[-1:] in b" \0"


def _shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
