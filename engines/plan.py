"""A compiled plan on disk and the sheet beside it that says what it was made for.

A plan is executable code bound to one network, one library version and one GPU. `<engine>.plan` therefore never runs
without `<engine>.json`: every difference between the sheet and what is here refuses the plan, and so does one changed
bit in either file. Nothing here imports TensorRT or touches a GPU.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from engines.engine import EngineSpec, PlanRefused, Precision
from engines.parity import Difference
from engines.store import read_cases, write_synced

FORMAT: Final = 1
_DIGEST: Final = "sheet_sha256"

Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Input name -> smallest, usual and largest shape."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a plan is bound to beside its network.

    library:            "tensorrt" or "tensorrt_rtx"
    compute_capability: "9.0"
    driver:             as the driver calls itself, with the newest CUDA it knows
    """

    library: str
    library_version: str
    gpu: str
    compute_capability: str
    driver: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sheet beside a plan.

    onnx_sha256:         of the network that was validated
    graph_sha256:        of what TensorRT was given; differs from the former where precision was converted
    cases_sha256:        of the recorded cases that `parity` was measured on
    flags:               of network and builder, in words
    workspace_mb:        scratch memory that the builder might plan with
    parity:              against the recorded answers of ONNX Runtime, right after the build
    timing_cache_sha256: of `<engine>.timing`, None for a library that keeps none
    """

    engine: str
    engine_version: str
    onnx_sha256: str
    graph_sha256: str
    cases_sha256: str
    precision: Precision
    machine: Machine
    profile: Profile
    flags: tuple[str, ...]
    workspace_mb: int
    plan_sha256: str
    plan_bytes: int
    timing_cache_sha256: str | None
    parity: tuple[Difference, ...]


def rebuild(name: str) -> str:
    """The fix of every refused plan."""
    return f"Run `imaging-node engines build {name}` on this machine."


def plan_path(folder: Path, name: str) -> Path:
    """The compiled plan of engine `name`; it need not exist."""
    return folder / f"{name}.plan"


def sheet_path(folder: Path, name: str) -> Path:
    """The sheet beside it."""
    return folder / f"{name}.json"


def timing_path(folder: Path, name: str) -> Path:
    """What the builder measured, for the next build."""
    return folder / f"{name}.timing"


def wanted_profile(spec: EngineSpec) -> Profile:
    """The shapes that a plan of `spec` has to take."""
    return {
        tensor.name: (
            spec.shape_at(tensor, "minimum"),
            spec.shape_at(tensor, "optimum"),
            spec.shape_at(tensor, "maximum"),
        )
        for tensor in spec.inputs
    }


def digest(data: bytes) -> str:
    """sha256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write(folder: Path, sheet: Plan, plan: bytes, timing_cache: bytes | None) -> None:
    """Put a plan in its place, the sheet last: after a power cut between them the old sheet refuses the new plan.

    raises: ValueError when the sheet is of other bytes
    """
    if digest(plan) != sheet.plan_sha256:
        raise ValueError("the sheet is of another plan")
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    if timing_cache is not None:
        write_synced(timing_path(folder, sheet.engine), timing_cache)
    write_synced(plan_path(folder, sheet.engine), plan)
    write_synced(sheet_path(folder, sheet.engine), dump(sheet))


def dump(sheet: Plan) -> bytes:
    """The sheet as its file holds it, with the digest of everything else in it."""
    content: dict[str, Any] = {"format": FORMAT, **asdict(sheet)}
    content["profile"] = {name: [list(shape) for shape in shapes] for name, shapes in sheet.profile.items()}
    content[_DIGEST] = digest(_canonical(content))
    return _canonical(content)


def read_sheet(folder: Path, name: str) -> Plan:
    """The sheet of engine `name`, once it is known to be as it was written.

    raises: PlanRefused when it is missing or any byte of it changed
    """
    path = sheet_path(folder, name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PlanRefused(
            f"There is no plan of engine {name} in {folder}: {path.name}: {error.strerror}.", fix=rebuild(name)
        ) from error
    try:
        sheet = _parse(data)
        whole = dump(sheet) == data
    # JSONDecodeError and UnicodeDecodeError are ValueErrors; a file of nothing but brackets is a RecursionError.
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise PlanRefused(f"{path} cannot be understood: {type(error).__name__}.", fix=rebuild(name)) from error
    if not whole:
        raise PlanRefused(f"{path} is not as it was written: its digest does not fit.", fix=rebuild(name))
    return sheet


def read_plan(folder: Path, sheet: Plan) -> bytes:
    """The plan's bytes, once they are known to be the sheet's; read once, so that what was hashed is what runs.

    raises: PlanRefused when they are missing, changed, or in a file that anybody may write
    """
    path = plan_path(folder, sheet.engine)
    try:
        for place in (folder, path):
            if place.stat().st_mode & stat.S_IWOTH:
                raise PlanRefused(
                    f"Anybody may write {place}; a plan is code that runs as this node.",
                    fix=f"Run `chmod o-w {place}`, then `imaging-node engines build {sheet.engine}`.",
                )
        data = path.read_bytes()
    except OSError as error:
        raise PlanRefused(
            f"The plan of engine {sheet.engine} cannot be read from {path}: {error.strerror}.",
            fix=rebuild(sheet.engine),
        ) from error
    found = digest(data)
    if len(data) != sheet.plan_bytes or found != sheet.plan_sha256:
        raise PlanRefused(
            f"{path} has {len(data)} bytes and sha256 {found[:16]}…, "
            f"its sheet says {sheet.plan_bytes} and {sheet.plan_sha256[:16]}….",
            fix=rebuild(sheet.engine),
        )
    return data


def read_timing_cache(folder: Path, name: str) -> bytes:
    """What the last build measured; empty when there is nothing that its sheet vouches for."""
    path = timing_path(folder, name)
    if not path.is_file() or not sheet_path(folder, name).is_file():
        return b""
    try:
        known = read_sheet(folder, name).timing_cache_sha256
    except PlanRefused:  # a build is what mends a refused plan; it then measures anew
        return b""
    data = path.read_bytes()
    return data if digest(data) == known else b""


def accept(sheet: Plan, spec: EngineSpec, machine: Machine) -> None:
    """Say no to a plan that was made for anything but this network on this machine.

    raises: PlanRefused with every difference; EngineMissing, DigestMismatch for the recorded cases
    """
    found = differences(sheet, spec, machine, digest(read_cases(spec)))
    if found:
        raise PlanRefused(
            f"The plan of engine {spec.name} is not for this: {'; '.join(found)}.", fix=rebuild(spec.name)
        )


def differences(sheet: Plan, spec: EngineSpec, machine: Machine, cases_sha256: str) -> tuple[str, ...]:
    """Each difference in words: what the plan was made for, and what is here."""
    found = []
    for name, made, here in (
        ("engine", sheet.engine, spec.name),
        ("version", sheet.engine_version, spec.version),
        ("ONNX", _short(sheet.onnx_sha256), _short(spec.sha256)),
        ("recorded cases", _short(sheet.cases_sha256), _short(cases_sha256)),
        ("library", sheet.machine.library, machine.library),
        ("library version", sheet.machine.library_version, machine.library_version),
        ("GPU", sheet.machine.gpu, machine.gpu),
        ("compute capability", sheet.machine.compute_capability, machine.compute_capability),
        ("driver", sheet.machine.driver, machine.driver),
        ("shapes", _shapes(sheet.profile), _shapes(wanted_profile(spec))),
    ):
        if made != here:
            found.append(f"{name}: made for {made}, here is {here}")
    if sheet.precision not in spec.accepted:
        found.append(f"precision: made in {sheet.precision}, accepted are {', '.join(spec.accepted)}")
    if sheet.flags != flags(sheet.precision):
        found.append(f"flags: made with {', '.join(sheet.flags)}, wanted are {', '.join(flags(sheet.precision))}")
    return (*found, *_parity_gaps(sheet, spec))


def flags(precision: Precision) -> tuple[str, ...]:
    """How networks are built, in words.

    The graph's own types decide (strongly typed). TF32 is off: it would round fp32 to 10 bits and still call it fp32.
    """
    return ("strongly typed", "no TF32", "no refit", f"graph in {precision}")


def _parity_gaps(sheet: Plan, spec: EngineSpec) -> list[str]:
    gaps = [f"parity: {name} was never compared" for name in spec.tolerances if name not in _outputs(sheet)]
    for figure in sheet.parity:
        limit = min(figure.limit, spec.tolerances.get(figure.output, 0.0))
        if not figure.worst <= limit:  # also a NaN
            gaps.append(f"parity: {figure.output} of case {figure.case} is off by {figure.worst:g}, allowed {limit:g}")
    return gaps


def _outputs(sheet: Plan) -> set[str]:
    return {figure.output for figure in sheet.parity}


def _shapes(profile: Profile) -> str:
    return ", ".join(f"{name} {' / '.join(str(list(s)) for s in shapes)}" for name, shapes in sorted(profile.items()))


def _short(sha256: str) -> str:
    return f"{sha256[:16]}…"


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _parse(data: bytes) -> Plan:
    content = json.loads(data)
    if content.pop("format") != FORMAT:
        raise ValueError("another format")
    content.pop(_DIGEST)
    content["precision"] = Precision(content["precision"])
    content["machine"] = Machine(**content["machine"])
    content["profile"] = {name: tuple(tuple(shape) for shape in shapes) for name, shapes in content["profile"].items()}
    content["flags"] = tuple(content["flags"])
    content["parity"] = tuple(Difference(**figure) for figure in content["parity"])
    return Plan(**content)
