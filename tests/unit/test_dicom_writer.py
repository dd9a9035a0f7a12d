"""The fast writer writes what the slow one writes, byte for byte; and it does not believe itself without looking."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom import classic, codes, decode, derive, keep, part10, raw, template
from node.dicom.alike import Alike
from node.dicom.classic import ClassicSeries
from node.dicom.job import Job
from node.dicom.source_slices import Source, read, read_header
from node.dicom.validate import Series
from node.errors import Refuse
from tests import reference_writer
from tests.dicom_phantom import ROOT, STUDY, everything, item, job, series
from tests.unit.test_dicom_derive import kernel_job

Changed = Callable[[Dataset, int], None]


def noisy(folder: Path, sources: list[str], work: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request for sources in geometric order; the result is the source with noise, in places far out of range."""
    decode.prepare_series(
        {"slices": [[path, 0] for path in sources], "voxels": f"{folder}/v.npy", "padding": f"{folder}/p.npy"}
    )
    values = np.load(folder / "v.npy")
    random = np.random.default_rng(1)
    values += random.normal(0, 30, values.shape).astype(np.float32)
    values[:, :2] += random.choice(np.array([-1e5, 1e5], np.float32), values[:, :2].shape)
    np.save(folder / "result.npy", values)
    return {"sources": sources, "result": f"{folder}/result.npy", "out": f"{folder}/out", "job": work} | more


def made(request: dict[str, Any]) -> list[bytes]:
    return [Path(instance["path"]).read_bytes() for instance in derive.write_series(request)["instances"]]


def padded(ds: Dataset, index: int) -> None:
    ds.PixelRepresentation = 1
    ds.add_new(0x00280120, "SS", -2000)
    pixels = np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()
    pixels[:3] = -2000
    ds.BitsStored, ds.HighBit, ds.PixelData = 16, 15, pixels.tobytes()


def padded_up_to_a_limit(ds: Dataset, index: int) -> None:
    padded(ds, index)
    ds.add_new(0x00280121, "SS", -1990)
    pixels = np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()
    pixels[:2] = -1995
    ds.PixelData = pixels.tobytes()


def changing(ds: Dataset, index: int) -> None:
    """Elements that come and go, sequences that differ, a comment, an older workstation."""
    ds.AcquisitionTime = f"1001{index:02d}.{index}"
    if index % 2:
        ds.ImageComments, ds.TableHeight = f"slice {index}", str(100 + index)
        ds.ContributingEquipmentSequence = [item(Manufacturer=f"STATION {index}", DeviceUID=f"{ROOT}.6{index}")]
    ds.ReferencedImageSequence = [item(ReferencedSOPClassUID="1.2.3", ReferencedSOPInstanceUID=f"{ROOT}.8.{index}")]


def once_lossy(ds: Dataset, index: int) -> None:
    ds.LossyImageCompression = "00"


CHANGES: dict[str, tuple[Changed, ...]] = {
    "plain": (),
    "everything": (everything,),
    "changing": (everything, changing),
    "padded": (everything, padded),
    "padded up to a limit": (padded_up_to_a_limit,),
    "stated": (once_lossy,),
}


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("name", CHANGES)
def test_the_fast_writer_and_the_slow_one_write_the_same_bytes(tmp_path: Path, name: str, syntax: UID | None) -> None:
    sources = series(tmp_path / "in", *CHANGES[name], slices=6, **({"syntax": syntax} if syntax else {}))
    for work in (job(z_support=1), job(**kernel_job(), cautions=["probe_r3"])):
        request = noisy(tmp_path, sources, work)

        assert made(request) == reference_writer.write(request)
        assert made(request | {"padding": f"{tmp_path}/p.npy"}) == reference_writer.write(request)


@pytest.mark.parametrize("folder", [
    "ct_abdomen_ge_acrin3", "ct_chest_philips_lidc0314", "ct_headphantom_philips_UB", "ct_headphantom_philips_UB5mm",
    "ct_headphantom_philips_YA",
])  # fmt: skip
def test_the_same_bytes_for_every_vendor(shared_data: Path, tmp_path: Path, folder: str) -> None:
    paths = [str(path) for path in sorted((shared_data / "dicom" / folder).glob("*.dcm"))]
    prepared = decode.prepare_series(
        {"slices": [[path, 0] for path in paths], "voxels": f"{tmp_path}/v.npy", "padding": f"{tmp_path}/p.npy"}
    )
    request = noisy(tmp_path, [paths[at] for at in prepared["order"]], job(z_support=2))

    assert made(request) == reference_writer.write(request)
    assert made(request | {"padding": f"{tmp_path}/p.npy"}) == reference_writer.write(request)


def as_written(dataset: Dataset) -> dict[int, bytes]:
    return template.encode(keep.copied(dataset))


def test_every_shared_header_reads_as_pydicom_reads_it(shared_data: Path) -> None:
    fast = 0
    for path in sorted((shared_data / "dicom").glob("*/*.dcm")):
        found, part = read_header(path), part10.read(path)

        assert (found.sop_class_uid, found.sop_instance_uid) == (part.sop_class_uid, part.sop_instance_uid)
        assert [int(tag) for tag in part10.elements(part.dataset)] == list(found.elements)
        assert as_written(found.dataset) == as_written(part.dataset)
        fast += all(isinstance(element, pydicom.dataelem.RawDataElement) for element in found.elements.values())
    assert fast > 100


# --- ranges ---------------------------------------------------------------------------------------------------------


def test_ranges_in_any_order_and_twice_make_the_same_files(tmp_path: Path) -> None:
    sources = series(tmp_path / "in", everything, slices=7)
    request = noisy(tmp_path, sources, job(z_support=1))
    whole = derive.write_series(request | {"out": f"{tmp_path}/whole"})

    parts = [derive.write_series(request | {"range": ends})["instances"] for ends in ([5, 7], [0, 2], [2, 5], [0, 2])]

    assert [[Path(one["path"]).name for one in part] for part in parts[:2]] == [
        ["00006.dcm", "00007.dcm"],
        ["00001.dcm", "00002.dcm"],
    ]
    joined = parts[1] + parts[2] + parts[0]
    assert [{**one, "path": ""} for one in joined] == [{**one, "path": ""} for one in whole["instances"]]
    for one, other in zip(joined, whole["instances"], strict=True):
        assert Path(one["path"]).read_bytes() == Path(other["path"]).read_bytes()
    assert parts[3] == parts[1]


def test_a_range_does_not_look_at_slices_that_are_still_computed(tmp_path: Path) -> None:
    request = noisy(tmp_path, series(tmp_path / "in", slices=4), job())
    values = np.load(request["result"])
    values[2:] = np.nan
    np.save(request["result"], values)

    assert len(derive.write_series(request | {"range": [0, 2]})["instances"]) == 2
    with pytest.raises(Refuse, match="not finite"):
        derive.write_series(request | {"range": [2, 4]})


@pytest.mark.parametrize("ends", [[0, 0], [2, 1], [0, 5], [-1, 2]])
def test_a_range_that_is_none_is_refused(tmp_path: Path, ends: list[int]) -> None:
    request = noisy(tmp_path, series(tmp_path / "in", slices=4), job())

    with pytest.raises(Refuse, match="There is no range"):
        derive.write_series(request | {"range": ends})


def test_sources_that_changed_on_disk_are_read_again(tmp_path: Path) -> None:
    sources = series(tmp_path / "in", slices=3)
    request = noisy(tmp_path, sources, job())
    before = derive.write_series(request)

    def another(ds: Dataset, index: int) -> None:
        ds.ProtocolName = "ANOTHER PROTOCOL"

    series(tmp_path / "in", another, slices=3)

    assert derive.write_series(request)["instances"] != before["instances"]


# --- durability -----------------------------------------------------------------------------------------------------


def test_every_file_is_synced_before_its_name_and_the_folder_before_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = noisy(tmp_path, series(tmp_path / "in", slices=5), job())
    events: list[tuple[str, str]] = []
    sync, sync_folder, replace = os.fdatasync, os.fsync, Path.replace

    def path_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    monkeypatch.setattr(os, "fdatasync", lambda fd: (events.append(("sync", path_of(fd))), sync(fd))[1])
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(("folder", path_of(fd))), sync_folder(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (events.append(("name", path.name)), replace(path, to))[1])

    reply = derive.write_series(request)

    asides = [f".{Path(one['path']).name}.part" for one in reply["instances"]]
    assert events == [*(event for name in asides for event in (("sync", name), ("name", name))), ("folder", "out")]


def test_a_disk_that_fails_to_sync_fails_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = noisy(tmp_path, series(tmp_path / "in", slices=3), job())

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)

    with pytest.raises(OSError, match="Input/output error"):
        derive.write_series(request)
    assert not list((tmp_path / "out").glob("*.dcm"))


# --- the check by comparison ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Source, ...], list[tuple[bytes, bytes]]]:
    """Sources and what is written for them, before the pixels."""
    paths = series(tmp_path_factory.mktemp("case"), everything, changing, slices=5)
    sources = read([Path(path) for path in paths], [0] * 5)
    writer = ClassicSeries(Job.of(job(z_support=1)), sources, STUDY)
    return sources, [writer.header(index) for index in range(1, 6)]


def wrong(case: Any, spoil: Callable[[dict[int, bytes]], Any] | None = None, *, head: bytes | None = None) -> list[str]:
    """What the comparison says of image 3 after `spoil`, image 1 having met every assertion."""
    sources, written = case
    alike = Alike(Series(job=Job.of(job(z_support=1)), sources=sources))
    alike.learn(written[0][1])
    values = raw.values(written[2][1])
    if spoil:
        spoil(values)
    ds = part10.parse(written[2][0] + written[2][1]).dataset
    vrs = {int(tag): str(element.VR) for tag, element in part10.elements(ds).items()}
    body = b"".join(template.element(tag, vrs.get(tag, "LO"), value) for tag, value in sorted(values.items()))
    return alike.image(head or written[2][0], body, 3)


def test_what_was_written_is_alike(case: Any) -> None:
    assert wrong(case) == []


def put(tag: int, value: bytes | None) -> Callable[[dict[int, bytes]], Any]:
    return lambda values: values.pop(tag) if value is None else values.update({tag: value})


def other_source(values: dict[int, bytes]) -> None:
    values[0x00082112] = values[0x00082112].replace(b"2.3\0", b"2.4\0", 1)


def source_less(values: dict[int, bytes]) -> None:
    first = 8 + int.from_bytes(values[0x00082112][4:8], "little")
    values[0x00082112] = values[0x00082112][:first]


def other_purpose(values: dict[int, bytes]) -> None:
    values[0x00082112] = values[0x00082112].replace(b"121322", b"121320", 1)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (put(0x00080008, b"ORIGINAL\\PRIMARY\\AXIAL\\AI_DENOISE "), "(0008,0008) is not what the series says"),
        (put(0x0008001C, b"YES "), "(0008,001C) is not what the series says"),
        (put(0x00080070, None), "(0008,0070) is missing"),
        (put(0x0020000E, f"{ROOT}.2 ".encode()), "(0020,000E) is not what the series says"),
        (put(0x00100020, b"OTHER "), "(0010,0020) is not that of the source"),
        (put(0x00200032, b"0\\0\\0 "), "(0020,0032) is not that of the source"),
        (put(0x00180060, b"80"), "(0018,0060) is not what the source says"),
        (put(0x00180010, None), "(0018,0010) is missing"),
        (put(0x00181130, b"99"), "(0018,1130) is not what the series says"),
        (put(0x00081070, b"A^B "), "(0008,1070) is not what the series says"),
        (put(0x00280106, b"\0\0"), "(0028,0106) is not what the series says"),
        (put(0x00291001, b"private "), "(0029,1001) is not what the series says"),
        (put(0x00991001, b"00"), "(0099,1001) is not what the series says"),
        (put(0x00200013, b"4 "), "Instance Number is not 3"),
        (put(0x00080018, b"1.02"), "the SOP Instance UID is no UID"),
        (put(0x00080018, f"{ROOT}.2.1".encode()), "the SOP Instance UID is that of another instance"),
        (put(0x00080018, b"1.2.3.4\0"), "File Meta Information and data set do not agree"),
        (put(0x0018A001, b""), "Contributing Equipment does not name the network"),
        (put(0x00282110, b"01"), "Lossy Image Compression is not what the source says"),
        (put(0x00204000, b"a comment "), "Image Comments are not those of the source"),
        (other_source, "the first source image is not the slice in its place"),
        (source_less, "the source images are not those within the z-support"),
        (other_purpose, "the first source image is not the slice in its place"),
    ],
)
def test_a_difference_is_found(case: Any, spoil: Callable[[dict[int, bytes]], Any], found: str) -> None:
    assert found in wrong(case, spoil)


def test_bytes_that_are_no_data_set_are_found(case: Any) -> None:
    sources, written = case
    alike = Alike(Series(job=Job.of(job(z_support=1)), sources=sources))
    alike.learn(written[0][1])

    for body in (written[2][1][:-1], written[2][1] + b"\0", written[2][1][200:] + written[2][1][:200]):
        assert alike.image(written[2][0], body, 3)[0].startswith("the data set is not what was meant")


def test_images_between_the_full_checks_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that spoils the fourth image is caught by the comparison, and by the full check alike."""
    sources = read([Path(path) for path in series(tmp_path / "in", slices=6)], [0] * 6)
    for every in (1, 64):
        monkeypatch.setattr(classic, "CHECKED_IN_FULL", every)
        writer = ClassicSeries(Job.of(job()), sources, STUDY)
        honest = writer._images.of
        monkeypatch.setattr(writer._images, "of", lambda index, of=honest: of(index if index != 4 else 5))
        for index in (1, 2, 3):
            writer.header(index)
        with pytest.raises(Refuse, match="Instance Number is not 4"):
            writer.header(4)
    assert writer.sop_class_uid == codes.CT_IMAGE_STORAGE
