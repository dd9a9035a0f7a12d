"""A magnetic series with the values of a map for it, and the job that writes the map."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom import maps, parametric
from tests import dicom_phantom

MR = "1.2.840.10008.5.1.4.1.1.4"
ROWS, COLUMNS = 48, 40
_CT_ONLY = "KVP XRayTubeCurrent Exposure ConvolutionKernel RescaleIntercept RescaleSlope RescaleType AcquisitionNumber"
Change = Callable[[Dataset, int], None]


def slice_of_mr(index: int) -> Dataset:
    """Slice `index` of a head, plain but complete."""
    ds = dicom_phantom.slice_of_ct(index, rows=ROWS, columns=COLUMNS)
    for keyword in _CT_ONLY.split():
        delattr(ds, keyword)
    ds.SOPClassUID, ds.Modality = MR, "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "SP", "", "3D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "20", "3", "1"
    return ds


def series(folder: Path, *changes: Change, slices: int = 5) -> list[str]:
    """Write such a series; returns the paths in geometric order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(slices):
        ds = slice_of_mr(index)
        for change in changes:
            change(ds, index)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = UID(MR)
        ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index:02d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(str(path))
    return paths


def values(kind: str, slices: int = 5, factor: int = 1, scale: float = 9.0) -> NDArray[np.float32]:
    """A map as the network of that kind could make it, (z factor, y, x)."""
    drawn = np.random.default_rng(7).normal(0.0, scale, (slices * factor, ROWS, COLUMNS)).astype(np.float32)
    drawn[:, :3] = 0.0
    return drawn if maps.MAPS[kind].signed else np.abs(drawn)


def job(kind: str, **changes: Any) -> dict[str, Any]:
    """The job of a map, as the flow hands it over."""
    row = maps.MAPS[kind]
    said = {
        "kind": kind,
        "image_type": list(maps.IMAGE_TYPE),
        "marker": row.opening,
        "synthetic": True,
        "derivation": asdict(row.derivation),
        "purpose": asdict(maps.PURPOSE),
        "operation": row.operation,
        "series_number": 4000 + row.series_code,
        "z_support": 1,
    }
    return dicom_phantom.job(**{**said, **changes})


def write(
    folder: Path, kind: str, sources: list[str], made: NDArray[np.float32], out: str = "out", **changes: Any
) -> dict[str, Any]:
    """Write a map of sources in geometric order; the reply."""
    np.save(folder / "map.npy", made)
    factor = len(made) // len(sources)
    work = job(kind, factor=factor, **changes)
    request = {"sources": sources, "map": str(folder / "map.npy"), "out": str(folder / out), "job": work}
    return parametric.write_map(request)
