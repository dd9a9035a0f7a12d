"""Clean series for the guards: public CT as it came, and the same anatomy cleaned and given noise of known kernels.

Two parts that share no scan: thresholds are calibrated on one and qualified on the other. Nothing here is a truth: a
series is clean when nothing but the network's own work happened to it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.cache import random_kernels
from engines.training.clean import clean_slice, enlarge, read_nifti, square
from engines.training.physics import Scanner, noise_images
from engines.training.sources import ABDOMEN, BODY, CHEST, CTA, DATA, LEG, PHANTOM, SIEMENS, read_dicom
from pipelines.volume import Volume

Image = NDArray[np.float32]
Header = dict[str, tuple[str, ...]]

SLICES = 3  # of a made series; two gaps are the fewest that the node takes
OTHER_LEG = "ct/petct_ge_ibsi_STS_002.nii.gz"
OTHER_PHANTOM = "ct/headphantom_philips_kernelYA_1mm.nii.gz"
GE = "dicom/ct_abdomen_ge_acrin3"


class Part(StrEnum):
    """Which half of the work a series is for."""

    CALIBRATE = "calibrate"
    QUALIFY = "qualify"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some neighbouring slices of one public scan.

    starts:   first slices; each gives one anatomy
    gain:     see `clean_slice`
    factor:   enlargement after cleaning
    spacing:  pixel and slice distance of the scan, mm
    """

    part: Part
    path: str
    starts: tuple[int, ...]
    gain: float
    factor: int
    spacing: tuple[float, float]
    body_part: str


def _bodies(part: Part, *patients: str) -> tuple[Block, ...]:
    return tuple(
        Block(part=part, path=BODY + p, starts=(0, 1), gain=2.0, factor=1, spacing=(0.8, 2.5), body_part="CHEST")
        for p in patients
    )


def _block(
    part: Part, path: str, starts: tuple[int, ...], gain: float, factor: int, spacing: tuple[float, float], body: str
) -> Block:
    return Block(part=part, path=path, starts=starts, gain=gain, factor=factor, spacing=spacing, body_part=body)


BLOCKS: tuple[Block, ...] = (
    _block(Part.CALIBRATE, CHEST, (8, 45, 75, 120), 2.2, 1, (0.78, 1.0), "CHEST"),
    _block(Part.CALIBRATE, ABDOMEN, (10, 50, 90), 1.2, 3, (3.0, 3.0), "ABDOMEN"),
    _block(Part.CALIBRATE, CTA, (20, 80, 140), 1.2, 3, (1.5, 1.5), "CHEST"),
    _block(Part.CALIBRATE, CTA, (50, 110), 0.7, 1, (1.5, 1.5), "CHEST"),
    _block(Part.CALIBRATE, PHANTOM, (5, 30, 50), 1.5, 1, (0.45, 1.0), "HEAD"),
    *_bodies(Part.CALIBRATE, "A002304", "A027284", "A046441", "A048383"),
    _block(Part.QUALIFY, LEG, (4, 20, 38, 54), 1.2, 2, (0.98, 3.27), "LEG"),
    _block(Part.QUALIFY, LEG, (12, 30), 0.7, 1, (0.98, 3.27), "LEG"),
    _block(Part.QUALIFY, SIEMENS, (0, 4, 8, 12, 16), 2.0, 1, (0.98, 2.0), "ABDOMEN"),
    _block(Part.QUALIFY, GE, (0,), 2.0, 1, (0.81, 1.25), "ABDOMEN"),
    *_bodies(Part.QUALIFY, "A056642", "A058062", "A062055"),
)

AS_THEY_CAME: tuple[Block, ...] = (
    _block(Part.CALIBRATE, CHEST, (0, 25, 50, 75, 100, 125), 0.0, 1, (0.78, 1.0), "CHEST"),
    _block(Part.CALIBRATE, ABDOMEN, (5, 60), 0.0, 1, (1.5, 3.0), "ABDOMEN"),
    _block(Part.CALIBRATE, CTA, (10, 60, 110), 0.0, 1, (1.5, 1.5), "CHEST"),
    _block(Part.CALIBRATE, PHANTOM, (10, 40), 0.0, 1, (0.45, 1.0), "HEAD"),
    _block(Part.CALIBRATE, OTHER_PHANTOM, (10, 40), 0.0, 1, (0.45, 1.0), "HEAD"),
    *_bodies(Part.CALIBRATE, "A002304", "A027284", "A046441", "A048383"),
    _block(Part.QUALIFY, LEG, (2, 15, 28, 41, 54), 0.0, 1, (0.98, 3.27), "LEG"),
    _block(Part.QUALIFY, OTHER_LEG, (5, 20, 35), 0.0, 1, (0.98, 3.27), "LEG"),
    _block(Part.QUALIFY, SIEMENS, (0, 3, 6, 9, 12, 15), 0.0, 1, (0.98, 2.0), "ABDOMEN"),
    _block(Part.QUALIFY, GE, (0,), 0.0, 1, (0.81, 1.25), "ABDOMEN"),
    *_bodies(Part.QUALIFY, "A056642", "A058062", "A062055"),
)
"""The abdomen's pixels of 3 mm are called 1.5 mm here: the node refuses more than 1.6 mm, the guards see pixels."""

CONDITIONS: tuple[tuple[float, float], ...] = (
    (8.0, 0.0),
    (16.0, 0.0),
    (30.0, 0.0),
    (20.0, 0.5),
    (25.0, 1.0),
    (45.0, 1.0),
)
"""SD of the noise in the body, HU, and the share of the sharp kernel in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One clean series.

    sharp:   share of the sharp kernel; None where the scanner chose
    headers: complete, of each slice in order
    """

    name: str
    part: Part
    source: str
    level_hu: float | None
    sharp: float | None
    volume: Volume
    headers: tuple[Header, ...]


def clean_series(part: Part, *, data: Path = DATA, few: bool = False) -> Iterator[Series]:
    """Every series of a part; `few` takes one anatomy of each scan and two conditions."""
    for block in BLOCKS:
        if block.part is part:
            for start in block.starts[:1] if few else block.starts:
                yield from _made(block, start, data, CONDITIONS[1::3] if few else CONDITIONS)
    for block in AS_THEY_CAME:
        if block.part is part:
            for start in block.starts[:1] if few else block.starts:
                yield as_it_came(block, start, data)


def _made(block: Block, start: int, data: Path, conditions: tuple[tuple[float, float], ...]) -> Iterator[Series]:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{block.path}/{start}".encode()).digest()[:8]))
    # Corners that the scanner left at the floor would become air at -1024 HU once there is noise in them.
    slices = [np.maximum(one, np.float32(-1000.0)) for one in _clean(block, start, data)]
    pixel = block.spacing[0] / block.factor
    scanner = Scanner(size=slices[0].shape[0], pixel_mm=min(pixel, 1.2))
    kernels = random_kernels(rng)
    noise = np.stack(
        [noise_images(scanner, one, kernels, photons=10 ** rng.uniform(5.3, 6.0), rng=rng) for one in slices]
    )
    body = slices[0] > -500.0
    for level_hu, sharp in conditions:
        mixed = noise[:, 0] * np.float32(1.0 - sharp) + noise[:, 1] * np.float32(sharp)
        mixed *= np.float32(level_hu / max(float(np.std(mixed[0][body])), 1e-6))
        voxels = np.clip(np.stack(slices) + mixed, -1024.0, 3071.0).astype(np.float32)
        name = f"{_short(block)} {start} x{block.factor} {level_hu:g} HU, {sharp:g} sharp"
        yield _series(name, block, voxels, pixel, level_hu, sharp)


def _clean(block: Block, start: int, data: Path) -> list[Image]:
    volume = _volume(block, data)
    if block.path.startswith(BODY):  # slices of different days: the neighbours are made, 1 % larger each
        one = square(clean_slice(volume[start : start + 1], 0, gain=block.gain))
        return [_zoomed(one, 1.0 + 0.01 * step) for step in range(SLICES)]
    return [square(enlarge(clean_slice(volume, start + step, gain=block.gain), block.factor)) for step in range(SLICES)]


def as_it_came(block: Block, start: int, data: Path) -> Series:
    """A few slices of a scan without any change."""
    volume = _volume(block, data)
    count = 1 if block.path.startswith(BODY) else min(SLICES, len(volume) - start)
    voxels = np.clip(volume[start : start + count], -1024.0, 3071.0).astype(np.float32)
    return _series(f"{_short(block)} {start} as it came", block, voxels, block.spacing[0], None, None)


def _volume(block: Block, data: Path) -> Image:
    return read_nifti(data / block.path) if block.path.startswith("ct/") else read_dicom(data / block.path)


def _short(block: Block) -> str:
    return block.path.rsplit("/", 1)[-1].removesuffix(".nii.gz")


def _series(
    name: str, block: Block, voxels: Image, pixel_mm: float, level_hu: float | None, sharp: float | None
) -> Series:
    affine = np.diag([pixel_mm, pixel_mm, block.spacing[1], 1.0])[:, [2, 1, 0, 3]]  # z is the first index
    volume = Volume(voxels=voxels, affine=affine, unit="HU")
    headers = tuple(header(volume, index, block.body_part) for index in range(len(voxels)))
    return Series(
        name=name, part=block.part, source=_short(block), level_hu=level_hu, sharp=sharp, volume=volume, headers=headers
    )


def header(volume: Volume, index: int, body_part: str) -> Header:
    """What an adult's examination without surprises says of a slice."""
    pixel_mm = float(np.linalg.norm(volume.affine[:3, 1]))
    rows, columns = volume.voxels.shape[1:]
    thickness_mm = float(np.linalg.norm(volume.affine[:3, 0]))
    return {
        "Modality": ("CT",),
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "Manufacturer": ("TEST SCANNERS",),
        "KVP": ("120",),
        "ConvolutionKernel": ("B30f",),
        "SliceThickness": (f"{thickness_mm:g}",),
        "PixelSpacing": (f"{pixel_mm:g}", f"{pixel_mm:g}"),
        "Rows": (str(rows),),
        "Columns": (str(columns),),
        "ReconstructionDiameter": (f"{max(rows, columns) * pixel_mm:g}",),
        "BodyPartExamined": (body_part,),
        "PatientAgeGroup": ("ADULT",),
        "RescaleIntercept": ("-1024",),
        "RescaleSlope": ("1",),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "ImagePositionPatient": ("0", "0", f"{index * thickness_mm:g}"),
    }


def _zoomed(image: Image, factor: float) -> Image:
    """Larger by a factor around the middle, linear interpolation; (y, x) kept."""
    made = image
    for _ in range(2):
        side = made.shape[0]
        at = np.clip((np.arange(side) - side / 2) / factor + side / 2, 0, side - 1.001)
        low = at.astype(np.intp)
        part = (at - low).astype(np.float32)[:, None]
        made = np.ascontiguousarray((made[low] * (1 - part) + made[low + 1] * part).T)
    return made
