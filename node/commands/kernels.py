"""`imaging-node kernels measure`: the curve of a kernel from a phantom series, as a table for the settings."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.child import Child
from node.dicom import part10
from node.dicom.gate import ineligible
from node.dicom.scan import Header, Unreadable, scan
from node.errors import BadSetting, Refuse
from node.stages import prepare as preparing
from pipelines import kernel_curves, kernels
from pipelines.kernels import SHIPPED_KERNELS, Measured, Named
from pipelines.volume import Volume

_MEMORY_MB, _SECONDS = 4096, 600.0  # as the settings of the decoder have it
_NEAR = 0.25  # a curve that is further from every kernel that the network knows is another kind of curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A decoded series and the kernel that its headers name."""

    volume: Volume
    named: Named


def measure(folder: Path, reference: Path | None, of_site: Sequence[Measured] = ()) -> dict[str, Any]:
    """Measure the kernel of a series.

    folder:    DICOM files of one series of a phantom
    reference: the same raw data with a kernel whose curve is known
    of_site:   kernels of the settings, for the reference
    returns:   kernel, manufacturer, curve, off, near, blocks, frequency and gain as measured, and a table as TOML
    raises:    BadSetting if there is nothing to measure
    """
    series = _read(folder)
    try:
        if reference is None:
            found = kernel_curves.from_noise(series.volume)
        else:
            other = _read(reference)
            known, lines = kernels.source_of((*of_site, *SHIPPED_KERNELS), other.named)
            if known is None:
                raise BadSetting(f"The reference has no curve: {'; '.join(lines)}.", fix="Take another one.")
            found = kernel_curves.against(series.volume, other.volume, known.curve)
    except kernel_curves.NotMeasurable as error:
        raise BadSetting(str(error), fix="A phantom with large flat parts is what this needs.") from error
    curve = found.kernel
    result = {
        "manufacturer": series.named.manufacturer,
        "kernel": series.named.name,
        "curve": {
            "cutoff_per_mm": curve.cutoff,
            "boost": curve.boost,
            "boost_at_per_mm": curve.boost_at,
            "boost_width_per_mm": curve.boost_width,
            "noise_kept": curve.noise_kept,
        },
        "off": round(found.off, 3),
        "near": found.off <= _NEAR,
        "blocks": found.blocks,
        "frequency_per_mm": [round(float(value), 4) for value in found.frequency],
        "gain": [round(float(value), 4) for value in found.gain],
        "against": None if reference is None else other.named.name,
    }
    return {**result, "table": _table(result)}


def _read(folder: Path) -> Series:
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise BadSetting(f"{folder} holds no file.", fix="Name a folder with the DICOM files of one series.")
    try:
        headers = [_header(path) for path in files]
        if unfit := ineligible(headers):
            raise BadSetting(f"{folder} is no series to measure: {unfit[0]}.", fix="Name one whole CT series.")
        named, lines = kernels.of_series(headers)
        if named is None:
            raise BadSetting(f"{lines[0]}.", fix="The table needs the name that the scanner writes.")
        with tempfile.TemporaryDirectory(prefix="imaging-node-") as work:
            child = Child(memory_mb=_MEMORY_MB, seconds=_SECONDS)
            try:
                volume = preparing.load(preparing.prepare(child, [(file, 0) for file in files], Path(work)))
            finally:
                child.close()
    except Refuse as error:
        raise BadSetting(error.message, fix=error.fix) from error
    if volume is None:
        raise BadSetting("The decoded series is gone.", fix="Look for what empties the temporary folder.")
    return Series(volume=volume, named=named)


def _header(path: Path) -> Header:
    meta, data_set = part10.split(path)
    try:
        found = scan(data_set, meta.transfer_syntax).header
    except Unreadable as error:
        raise Refuse(f"{path.name}: {error}.", fix="Take it out of the folder.") from error
    return {"SOPClassUID": (meta.sop_class_uid,), "SOPInstanceUID": (meta.sop_instance_uid,), **found}


def _table(result: dict[str, Any]) -> str:
    how = f"against {result['against']}" if result["against"] else "noise power"
    lines = ["[[kernels]]", f'manufacturer = "{result["manufacturer"]}"', f"names = ['{result['kernel']}']"]
    given = {name: value for name, value in result["curve"].items() if result["against"] or name != "noise_kept"}
    lines += [f"{name} = {value:g}" for name, value in given.items()]
    lines += [
        f'measured_on = "WHICH PHANTOM, SCANNER AND DATE; {how}, {result["blocks"]} flat blocks, '
        f'within {100 * result["off"]:.0f} %"'
    ]
    return "\n".join(lines)
