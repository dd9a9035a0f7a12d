"""Thick time-of-flight slices over a real association; thin ones come back that are the thick ones again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests import reference
from tests.peers import StoreScp, dcmsend
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for
from tests.tof_phantom import ARTERIES, Grid, angiography, slice_of_tof, values_of, write_tof

SMALL = (10, 96, 80)
PROMISED = 0.005
"""Of arterial signal: how far the means of the stored thin slices may be from the stored thick ones."""

RULES: Mapping[str, Mapping[str, Any]] = {
    "TOF 3D": {},
    "TOF F2": {"factor": 2},
    "TOF F3": {"factor": 3},
    "TOF F5": {"factor": 5},
    "TOF F6": {"factor": 6},
    "TOF KEPT": {"consistency": "header"},
}
"""Protocol Name -> parameters of the rule that takes it."""
TIMES = {"SeriesDate", "SeriesTime", "ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime"}


class Site:
    """A running node and an archive that receives what it makes."""

    def __init__(self, folder: Path, node: RunningNode, archive: StoreScp) -> None:
        self.folder, self.node, self.archive = folder, node, archive
        self.series = 0

    def through(self, files: list[Path]) -> list[Path]:
        """Send a series; the images that came out of it, in geometric order."""
        before = set(self.archive.files())
        self.series += 1
        (sent,) = dcmsend(self.node.port, files, called=AE_TITLE)
        assert sent.stored == len(files), sent.output[-2000:]
        self.node.wait_settled(self.series, timeout_s=900)
        made = [path for path in self.archive.files() if path not in before]
        return sorted(made, key=lambda path: int(pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber))

    def why_not(self, files: list[Path]) -> str:
        """Send a series that is not taken; the reasons of the rule for it."""
        assert self.through(files) == []
        series = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
        (one,) = self.node.show(series)["sets"]
        assert one["state"] == "unmatched", one
        return str(one["rules"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tof")
    rules = [
        {
            "name": name.lower().replace(" ", "-"),
            "pipeline": "mra-superres",
            "where": {"ProtocolName": name},
            "parameters": dict(parameters),
        }
        for name, parameters in RULES.items()
    ]
    with StoreScp(folder / "archive") as archive:
        raw = settings_for(folder, destinations=[archive], rules=rules, engines={"threads": 1})
        node = RunningNode(folder / "node", raw)
        try:
            node.start(wait=False)
            node.wait_ready(timeout_s=300)
            yield Site(folder, node, archive)
        finally:
            node.stop()


def thick_again(made: list[Path], factor: int) -> NDArray[np.float64]:
    """The means of the stored thin slices, (z, y, x)."""
    thin = np.stack([values_of(path) for path in made])
    return thin.reshape(len(made) // factor, factor, *thin.shape[1:]).mean(axis=1)


def off(made: list[Path], files: list[Path], factor: int, *, arteries: float = ARTERIES) -> float:
    """How far the means are from the slices that were sent (in geometric order), as a share of arterial signal."""
    sent = np.stack([values_of(path) for path in files])
    return float(np.abs(thick_again(made, factor) - sent).max()) / arteries


def test_40_slices_of_4_mm_become_160_of_1_mm_that_average_to_them(site: Site, tmp_path: Path) -> None:
    files = write_tof(tmp_path, angiography((40, 96, 80)), key="forty")

    made = site.through(files)

    first, second, last = (pydicom.dcmread(made[index]) for index in (0, 1, -1))
    assert len(made) == 160
    assert float(first.ImagePositionPatient[2]) == pytest.approx(50.0 - 1.5)
    assert float(second.ImagePositionPatient[2]) == pytest.approx(50.0 - 0.5)
    assert float(last.ImagePositionPatient[2]) == pytest.approx(50.0 + 39 * 4.0 + 1.5)
    assert (float(first.SliceThickness), float(first.SpacingBetweenSlices)) == (1.0, 1.0)
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "AI_SUPERRES_Z"]
    assert first.SeriesDescription.startswith("AI SUPER-RES Z 1mm spacing - ")
    assert first[0x0008, 0x001C].value == "YES"
    assert "FWHM" in first.DerivationDescription
    assert first.SeriesNumber == 4031
    assert off(made, files, 4) <= PROMISED
    assert off(made, files, 4) == pytest.approx(0.0, abs=1e-9)  # to the bit: the sources are whole numbers
    # Not the slabs repeated: something stands between the slices.
    assert float(np.abs(values_of(made[80]) - values_of(made[83])).max()) > 0.1 * ARTERIES


@pytest.mark.parametrize("factor", [2, 3, 5, 6])
def test_every_factor_keeps_what_was_measured(site: Site, tmp_path: Path, factor: int) -> None:
    def protocol(ds: Dataset, index: int) -> None:
        ds.ProtocolName = f"TOF F{factor}"

    files = write_tof(tmp_path, angiography(SMALL, seed=factor), protocol, key=f"factor {factor}")

    made = site.through(files)

    assert len(made) == factor * len(files)
    assert off(made, files, factor) == pytest.approx(0.0, abs=1e-9)
    spacing = float(pydicom.dcmread(made[0]).SpacingBetweenSlices)
    assert spacing == pytest.approx(4.0 / factor, abs=1e-4)


def test_oblique_slices_sent_backwards_lie_between_their_neighbours(site: Site, tmp_path: Path) -> None:
    grid = Grid(orientation=(0.96, 0.0, 0.28, 0.0, 1.0, 0.0), pixel_mm=(0.55, 0.8))
    files = write_tof(tmp_path, angiography(SMALL, seed=8), key="oblique", grid=grid, order=range(9, -1, -1))

    made = site.through(files)

    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in made]
    places = np.array([[float(one) for one in header.ImagePositionPatient] for header in headers])
    normal = np.cross(grid.orientation[:3], grid.orientation[3:])
    assert np.allclose(np.diff(places, axis=0), normal, atol=1e-4)
    assert np.allclose(places[:4].mean(axis=0), grid.position(0), atol=1e-4)
    assert list(headers[0].PixelSpacing) == [0.55, 0.8]
    assert off(made, files[::-1], 4) == pytest.approx(0.0, abs=1e-9)


def slope(ds: Dataset, index: int) -> None:
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "0.25", "-10", "US"


def slopes(ds: Dataset, index: int) -> None:
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = f"{0.5 + 0.01 * index:g}", "0", "US"


def padded(ds: Dataset, index: int) -> None:
    ds.PixelPaddingValue = 0
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).copy()
    stored[:, :6] = 0
    ds.PixelData = stored.tobytes()


def clipped(ds: Dataset, index: int) -> None:
    stored = np.frombuffer(ds.PixelData, "<u2").astype(np.int64) * 6
    ds.PixelData = np.minimum(stored, 4095).astype("<u2").tobytes()


def signed(ds: Dataset, index: int) -> None:
    ds.PixelRepresentation = 1
    stored = np.frombuffer(ds.PixelData, "<u2").astype("<i2")
    ds.PixelData = np.where(stored < 14, stored - 14, stored).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("change", "arteries", "exactly"),
    [(slope, 0.25 * ARTERIES, True), (slopes, 0.5 * ARTERIES, False), (padded, ARTERIES, False),
     (clipped, 4095.0, True), (signed, ARTERIES, True)],
)  # fmt: skip
def test_however_values_are_stored_their_means_are_kept(
    site: Site, tmp_path: Path, change: Any, arteries: float, exactly: bool
) -> None:
    files = write_tof(tmp_path, angiography(SMALL, seed=11), change, key=f"stored {change.__name__}")

    made = site.through(files)

    assert len(made) == 40, site.node.jobs()[0]["reason"]
    # An MR image says no rescale of its own: what it stores is compared in the units of its sources.
    ds = pydicom.dcmread(files[0])
    step, zero = float(ds.get("RescaleSlope") or 1.0), float(ds.get("RescaleIntercept") or 0.0)
    again = thick_again(made, 4)
    sent = np.stack([values_of(path) for path in files])
    if change is slopes:  # the writer's common scale: the line through what both say
        step, zero = np.polyfit(again.ravel(), sent.ravel(), 1)
    worst = float(np.abs(again * step + zero - sent).max()) / arteries
    assert worst <= PROMISED
    if exactly:
        assert worst == pytest.approx(0.0, abs=1e-9)


def test_small_signals_keep_their_means_too(site: Site, tmp_path: Path) -> None:
    files = write_tof(tmp_path, angiography(SMALL, seed=12, arteries=180.0), key="small")

    made = site.through(files)

    assert len(made) == 40, site.node.jobs()[0]["reason"]
    assert off(made, files, 4, arteries=180.0) == pytest.approx(0.0, abs=1e-9)


def test_a_compressed_series_gives_the_same_images(site: Site, tmp_path: Path) -> None:
    voxels = angiography(SMALL, seed=13)
    files = write_tof(tmp_path / "plain", voxels, key="compressed")
    packed = [reference.encoded(path, tmp_path / "packed" / path.name, reference.JPEG_LS) for path in files]

    made = site.through(packed)

    assert off(made, files, 4) == pytest.approx(0.0, abs=1e-9)


def test_measured_frequencies_are_kept_where_the_rule_says_so(site: Site, tmp_path: Path) -> None:
    def protocol(ds: Dataset, index: int) -> None:
        ds.ProtocolName = "TOF KEPT"

    files = write_tof(tmp_path, angiography(SMALL, seed=14), protocol, key="kept")

    made = site.through(files)

    assert len(made) == 40, site.node.jobs()[0]["reason"]
    assert off(made, files, 4) > 0.0  # another promise than that of the means
    source = pydicom.dcmread(made[0], stop_before_pixels=True).SourceImageSequence
    assert len(source) == len(files)  # every slice has its part in every image


def thin_already(ds: Dataset, index: int) -> None:
    ds.ImagePositionPatient[2] = 50.0 + 0.8 * index
    ds.SliceThickness = ds.SpacingBetweenSlices = "0.8"


def with_gaps(ds: Dataset, index: int) -> None:
    ds.SliceThickness = "3"


def overlapping(ds: Dataset, index: int) -> None:
    ds.ImagePositionPatient[2] = 50.0 + 2.0 * index
    ds.SpacingBetweenSlices = "2"


def projected(ds: Dataset, index: int) -> None:
    ds.ImageType = ["DERIVED", "SECONDARY", "MIP"]


def phase(ds: Dataset, index: int) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "P", "NONE"]


def contrast(ds: Dataset, index: int) -> None:
    ds.ContrastBolusAgent = "AGENT"


def spin_echo(ds: Dataset, index: int) -> None:
    ds.ScanningSequence, ds.AngioFlag = "SE", "N"


def unnamed(ds: Dataset, index: int) -> None:
    ds.AngioFlag, ds.SeriesDescription, ds.SequenceName = "N", "FLASH 3D", "fl3d1"
    ds.ProtocolName = "TOF 3D"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (thin_already, "thin enough already"),
        (with_gaps, "leave gaps of 1 mm"),
        (overlapping, "overlap by more than 30 %"),
        (projected, "ImageType holds MIP"),
        (phase, "ImageType holds P"),
        (contrast, "contrast agent was given"),
        (spin_echo, "ScanningSequence is SE"),
    ],
)
def test_what_is_no_thick_angiography_is_refused_with_the_reason(
    site: Site, tmp_path: Path, change: Any, said: str
) -> None:
    files = write_tof(tmp_path, angiography(SMALL), change, key=f"refused {change.__name__}")

    assert said in site.why_not(files)


def test_the_same_series_gives_the_same_bytes(tmp_path: Path) -> None:
    write_tof(tmp_path / "in", angiography(SMALL, seed=15), key="twice")
    runs = []
    for name in ("one", "two"):
        code, said, error = cli("process", tmp_path / "in", "--to", tmp_path / name, "--threads", "1", "--json")
        assert code == 0, said + error
        runs.append(sorted((tmp_path / name).rglob("*.dcm")))

    assert len(runs[0]) == 40
    for one, other in zip(*runs, strict=True):
        first, second = pydicom.dcmread(one), pydicom.dcmread(other)
        for ds in (first, second):
            for item in ds.ContributingEquipmentSequence:
                item.pop("ContributionDateTime", None)
        assert first.SOPInstanceUID == second.SOPInstanceUID
        assert first.PixelData == second.PixelData
        assert {e.keyword for e in first if second.get(e.tag) != e} <= TIMES


def test_the_phantom_is_what_a_scanner_writes(tmp_path: Path) -> None:
    """The negative control of the tests above: slices that are only repeated average to the source as well."""
    voxels = angiography(SMALL)

    assert slice_of_tof(voxels[0], 0, grid=Grid(), key="x").AngioFlag == "Y"
    assert 0.2 * ARTERIES < float(np.median(voxels[voxels > 100.0])) < 0.5 * ARTERIES
