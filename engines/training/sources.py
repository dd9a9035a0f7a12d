"""Which public slices train, which choose the checkpoint, and which are held back.

The split is by volume or patient where there are several, else by a block of slices with a gap beside it. Held-back
items are listed by the digest of their file (engines/cards/ct_denoise.json), so that anyone can see that they are
the same.

ct/thorax_totalsegmentator_1.5mm is in no list: it is a part of the scan in ct/thorax_cta_totalsegmentator_1.5mm
(slices 24 to 135, equal but for rounding), which trains. Held back, it would have judged what it taught.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.clean import clean_slice, enlarge, read_nifti, square

DATA = Path(__file__).parents[2].parent / "shared" / "data"


class Role(StrEnum):
    """What a slice is for."""

    TRAIN = "train"
    CHOOSE = "choose"
    HELD_BACK = "held-back"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Slices of one volume.

    path:     file (NIfTI) or folder (DICOM) below the data folder
    slices:   indices in the file's order; DICOM: sorted by position along z
    gain:     see `clean_slice`
    factor:   enlargement afterwards
    pixel_mm: after enlarging
    """

    role: Role
    path: str
    slices: tuple[int, ...]
    gain: float
    factor: int
    pixel_mm: float

    @property
    def name(self) -> str:
        """Short, for tables."""
        return self.path.rsplit("/", 1)[-1].removesuffix(".nii.gz")


CHEST = "ct/chest_lidc0314_philips_kernelD_1mm.nii.gz"
ABDOMEN = "ct/abdomen_totalsegmentator_3mm.nii.gz"
CTA = "ct/thorax_cta_totalsegmentator_1.5mm.nii.gz"
PHANTOM = "ct/headphantom_philips_kernelUB_1mm.nii.gz"
LEG = "ct/petct_ge_ibsi_STS_010.nii.gz"  # STS_002 is left out: its field of view is cut and streaked
SIEMENS = "dicom/ct_abdomen_siemens_j2k"
BODY = "dicom/ct_body_nysbu_"


def _source(role: Role, path: str, slices: range, gain: float, factor: int, pixel_mm: float) -> Source:
    return Source(role=role, path=path, slices=tuple(slices), gain=gain, factor=factor, pixel_mm=pixel_mm)


SOURCES: tuple[Source, ...] = (
    _source(Role.TRAIN, CHEST, range(2, 96, 3), 2.2, 1, 0.78),
    _source(Role.TRAIN, ABDOMEN, range(3, 110, 5), 1.2, 3, 1.0),
    _source(Role.TRAIN, CTA, range(3, 160, 7), 1.2, 3, 0.5),
    _source(Role.TRAIN, PHANTOM, range(0, 40, 4), 1.5, 1, 0.45),
    _source(Role.TRAIN, SIEMENS, range(11), 2.0, 1, 0.98),
    *(_source(Role.TRAIN, BODY + patient, range(2), 2.0, 1, 0.8) for patient in ("A002304", "A027284", "A046441")),
    # Coarse pixels as they are: edges one pixel wide, which an enlarged volume never shows. Cleaned gently, since there
    # a small vessel looks like noise to non-local means too.
    _source(Role.TRAIN, CTA, range(1, 160, 4), 0.7, 1, 1.2),
    _source(Role.TRAIN, ABDOMEN, range(2, 110, 4), 0.7, 1, 1.2),
    _source(Role.CHOOSE, BODY + "A048383", range(2), 2.0, 1, 0.76),
    _source(Role.CHOOSE, CHEST, range(100, 104, 3), 2.2, 1, 0.78),
    _source(Role.CHOOSE, SIEMENS, range(12, 13), 2.0, 1, 0.98),
    _source(Role.HELD_BACK, CHEST, range(110, 149, 3), 2.2, 1, 0.78),
    _source(Role.HELD_BACK, LEG, range(4, 58, 4), 1.2, 2, 0.49),
    _source(Role.HELD_BACK, PHANTOM, range(46, 60, 3), 1.5, 1, 0.45),
    _source(Role.HELD_BACK, SIEMENS, range(15, 20), 2.0, 1, 0.98),
    *(_source(Role.HELD_BACK, BODY + patient, range(2), 2.0, 1, 0.8) for patient in ("A056642", "A058062", "A062055")),
)


def clean_slices(source: Source, data: Path = DATA) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Index and clean slice, (s, s) HU, of every slice of the source."""
    together = source.path.startswith("ct/") or source.path == SIEMENS
    volume = read_nifti(data / source.path) if source.path.startswith("ct/") else read_dicom(data / source.path)
    for index in source.slices:
        if together:
            made = clean_slice(volume, index, gain=source.gain)
        else:  # slices of different dates and positions are no neighbours
            made = clean_slice(volume[index : index + 1], 0, gain=source.gain)
        yield index, square(enlarge(made, source.factor))


def read_dicom(folder: Path) -> NDArray[np.float32]:
    """All slices of a folder by position along z; (z, y, x) HU, padding as air."""
    import pydicom  # a run-time dependency of the node, not of the numpy-only parts here

    files = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    files.sort(key=lambda file: float(file.ImagePositionPatient[2]))
    images = [
        file.pixel_array.astype(np.float32) * np.float32(file.RescaleSlope) + np.float32(file.RescaleIntercept)
        for file in files
    ]
    return np.maximum(np.stack(images), np.float32(-1024.0))


LINEAR = {CHEST: (2, 3), LEG: (1, 2), PHANTOM: (0, 1), SIEMENS: (1, 2)}
"""Slices to each side and side of a block that are averaged, where that leaves little enough noise."""


def linear_slices(source: Source, data: Path) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Index and slice of linear truth, (s, s) HU; nothing where none can be made."""
    if source.path not in LINEAR:
        return
    around, block = LINEAR[source.path]
    volume = read_nifti(data / source.path) if source.path.startswith("ct/") else read_dicom(data / source.path)
    for index in source.slices:
        image = volume[max(index - around, 0) : index + around + 1].mean(axis=0)
        y, x = (side // block * block for side in image.shape)
        small = image[:y, :x].reshape(y // block, block, x // block, block).mean(axis=(1, 3))
        yield index, square(small.astype(np.float32))
