"""Plans: whole, made here, made for this, proven; otherwise refused with the command that mends it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import plan as plans
from engines.engine import Bounds, EngineSpec, PlanRefused, Precision
from engines.parity import Difference
from engines.plan import Machine, Plan, accept, read_plan, read_sheet, read_timing_cache, wanted_profile, write
from engines.store import load_spec, read_cases

SPEC = load_spec("ct_denoise")
HERE = Machine(
    library="tensorrt",
    library_version="11.4.0.106",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    driver="580.159.03, CUDA 13.0",
)
BYTES = bytes(range(256))
TIMINGS = b"timings"
MENDED_BY = "Run `imaging-node engines build ct_denoise` on this machine."


def sheet() -> Plan:
    return Plan(
        engine=SPEC.name,
        engine_version=SPEC.version,
        onnx_sha256=SPEC.sha256,
        graph_sha256=SPEC.sha256,
        cases_sha256=hashlib.sha256(read_cases(SPEC)).hexdigest(),
        precision=Precision.FP32,
        machine=HERE,
        profile=wanted_profile(SPEC),
        flags=plans.flags(Precision.FP32),
        workspace_mb=2048,
        plan_sha256=hashlib.sha256(BYTES).hexdigest(),
        plan_bytes=len(BYTES),
        timing_cache_sha256=hashlib.sha256(TIMINGS).hexdigest(),
        parity=(Difference(case="phantom-0", output="denoised", worst=0.01, limit=0.5),),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good plan."""
    write(tmp_path / "plans", sheet(), BYTES, TIMINGS)
    return tmp_path / "plans"


def test_a_plan_that_was_made_here_for_this_is_taken(folder: Path) -> None:
    found = read_sheet(folder, "ct_denoise")

    assert found == sheet()
    accept(found, SPEC, HERE)
    assert read_plan(folder, found) == BYTES
    assert read_timing_cache(folder, "ct_denoise") == TIMINGS


def test_the_sheet_says_what_an_auditor_asks(folder: Path) -> None:
    content = json.loads((folder / "ct_denoise.json").read_bytes())

    assert content["machine"] == dataclasses.asdict(HERE)
    assert content["onnx_sha256"] == SPEC.sha256
    assert content["profile"]["hu"] == [[1, 1, 64, 64], [1, 1, 512, 512], [4, 1, 1024, 1024]]
    assert content["parity"] == [{"case": "phantom-0", "output": "denoised", "worst": 0.01, "limit": 0.5}]


def test_one_flipped_bit_anywhere_in_the_sheet_is_refused(folder: Path) -> None:
    path = folder / "ct_denoise.json"
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(flipped(good, place, bit=place % 8))
        with pytest.raises(PlanRefused, match=MENDED_BY):
            read_sheet(folder, "ct_denoise")


def test_one_flipped_bit_anywhere_in_the_plan_is_refused(folder: Path) -> None:
    found = read_sheet(folder, "ct_denoise")
    for place in range(len(BYTES)):
        (folder / "ct_denoise.plan").write_bytes(flipped(BYTES, place, bit=place % 8))
        with pytest.raises(PlanRefused, match=r"its sheet says 256 and .*" + MENDED_BY):
            read_plan(folder, found)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: good[:-1],
        lambda good: good + b"\n",
        lambda good: good.replace(b"\n ", b"\n  "),
        lambda good: b"",
        lambda good: b"[]",
        lambda good: b'{"format": 1}',
        lambda good: good.replace(b'"format": 1', b'"format": 2'),
        lambda good: good.replace(b'"workspace_mb": 2048', b'"workspace_mb": 4096'),
        lambda good: good.replace(b'"workspace_mb": 2048', b'"workspace_mb": 2048, "more": 1'),
        lambda good: good.replace(b'"worst": 0.01', b'"worst": 1e999'),
        lambda good: b"[" * 100_000,
    ],
)
def test_a_sheet_that_anybody_edited_is_refused(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = folder / "ct_denoise.json"
    good = path.read_bytes()
    assert spoil(good) != good
    path.write_bytes(spoil(good))

    with pytest.raises(PlanRefused, match=MENDED_BY):
        read_sheet(folder, "ct_denoise")


@pytest.mark.parametrize("name", ["ct_denoise.json", "ct_denoise.plan"])
def test_a_missing_file_says_what_to_run(folder: Path, name: str) -> None:
    found = sheet()
    (folder / name).unlink()

    read = read_sheet if name.endswith(".json") else lambda folder, _: read_plan(folder, found)
    with pytest.raises(PlanRefused, match=r"No such file or directory. " + MENDED_BY):
        read(folder, "ct_denoise")


@pytest.mark.parametrize("name", ["", "ct_denoise.plan"])
def test_a_plan_that_anybody_may_write_is_refused(folder: Path, name: str) -> None:
    place = folder / name
    place.chmod(place.stat().st_mode | 0o002)

    with pytest.raises(PlanRefused, match=r"Anybody may write .*chmod o-w.*engines build ct_denoise"):
        read_plan(folder, sheet())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"library": "tensorrt_rtx"}, "library: made for tensorrt, here is tensorrt_rtx"),
        ({"library_version": "11.3.0.1"}, r"library version: made for 11\.4\.0\.106, here is 11\.3\.0\.1"),
        ({"gpu": "NVIDIA L40S"}, "GPU: made for NVIDIA L4, here is NVIDIA L40S"),
        ({"compute_capability": "9.0"}, r"compute capability: made for 8\.9, here is 9\.0"),
        ({"driver": "590.1, CUDA 13.1"}, r"driver: made for 580\.159\.03, CUDA 13\.0, here is 590\.1, CUDA 13\.1"),
    ],
)
def test_another_machine_refuses_the_plan(change: dict[str, str], told: str) -> None:
    with pytest.raises(PlanRefused, match=told + r"\. " + MENDED_BY):
        accept(sheet(), SPEC, replace(HERE, **change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "9.0.0"}, rf"version: made for {SPEC.version}, here is 9\.0\.0"),
        ({"sha256": "0" * 64}, f"ONNX: made for {SPEC.sha256[:16]}…, here is 0000000000000000…"),
        (
            {"profile": {**SPEC.profile, "x": Bounds(minimum=64, optimum=512, maximum=2048)}},
            r"shapes: made for hu .*\[4, 1, 1024, 1024\], here is hu .*\[4, 1, 1024, 2048\]",
        ),
        ({"accepted": (Precision.FP16,)}, "precision: made in fp32, accepted are fp16"),
        ({"tolerances": {"denoised": 0.005}}, r"parity: denoised of case phantom-0 is off by 0\.01, allowed 0\.005"),
        ({"tolerances": {"denoised": 0.5, "sd": 1.0}}, "parity: sd was never compared"),
    ],
)
def test_another_specification_refuses_the_plan(change: dict[str, Any], told: str) -> None:
    spec: EngineSpec = replace(SPEC, **change)

    with pytest.raises(PlanRefused, match=told + r"\. " + MENDED_BY):
        accept(sheet(), spec, HERE)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"engine": "ct_kernel"}, "engine: made for ct_kernel, here is ct_denoise"),
        ({"cases_sha256": "0" * 64}, "recorded cases: made for 0000000000000000…, here is"),
        ({"flags": ("weakly typed",)}, "flags: made with weakly typed, wanted are strongly typed, no TF32"),
        ({"parity": ()}, "parity: denoised was never compared"),
        (
            {"parity": (Difference(case="phantom-0", output="denoised", worst=float("nan"), limit=0.5),)},
            "denoised of case phantom-0 is off by nan",
        ),
        (
            {"parity": (Difference(case="phantom-0", output="denoised", worst=0.6, limit=9.0),)},
            r"is off by 0\.6, allowed 0\.5",
        ),
    ],
)
def test_a_sheet_of_something_else_refuses_the_plan(change: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanRefused, match=f"{told}.*{MENDED_BY}"):
        accept(replace(sheet(), **change), SPEC, HERE)


def test_every_difference_is_told_at_once() -> None:
    with pytest.raises(PlanRefused, match=r"GPU: .*; compute capability: .*; driver: "):
        accept(sheet(), SPEC, replace(HERE, gpu="another", compute_capability="12.0", driver="another"))


def test_no_field_of_the_machine_is_left_uncompared() -> None:
    for field in dataclasses.fields(Machine):
        other = replace(HERE, **{field.name: "another"})
        assert len(plans.differences(sheet(), SPEC, other, sheet().cases_sha256)) == 1, field.name


def test_a_plan_written_while_the_power_went_is_refused(folder: Path) -> None:
    """The plan is written before its sheet: what is left is a new plan beside the old sheet."""
    (folder / "ct_denoise.plan").write_bytes(BYTES + b"of a later build")

    with pytest.raises(PlanRefused, match=MENDED_BY):
        read_plan(folder, read_sheet(folder, "ct_denoise"))


def test_a_sheet_of_other_bytes_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of another plan"):
        write(tmp_path, sheet(), b"other", None)

    assert list(tmp_path.iterdir()) == []


def test_timings_that_no_sheet_vouches_for_are_measured_anew(folder: Path) -> None:
    (folder / "ct_denoise.timing").write_bytes(b"of somebody else")
    assert read_timing_cache(folder, "ct_denoise") == b""

    (folder / "ct_denoise.timing").write_bytes(TIMINGS)
    (folder / "ct_denoise.json").write_bytes(b"{}")
    assert read_timing_cache(folder, "ct_denoise") == b""
    assert read_timing_cache(folder / "elsewhere", "ct_denoise") == b""


def flipped(data: bytes, place: int, *, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)
