"""`imaging-node engines`: what networks there are, whether they are what they were, how fast they run; and new ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines import store
from engines.backends import Backend, BackendSettings, describe, open_engine
from engines.engine import EngineError, EngineMissing, EngineSpec, PlanRefused, Precision
from engines.export_triton import Device, export
from engines.parity import Difference, compare, record, recorded_cases
from engines.timing import time_engine
from node import app
from node.errors import BadSetting, NodeError, Refuse
from node.settings import load


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which engines, and what runs them.

    site: folder of the site's own engines, before those that ship with the node; None: only those that ship
    """

    site: Path | None
    choice: BackendSettings


def where(settings_file: Path | None, *, backend: Backend | None, threads: int | None) -> Where:
    """As the settings say; without a file, the engines that ship and backend ort. `backend`, `threads`: instead."""
    site, choice = None, BackendSettings()
    if settings_file is not None:
        settings = load(settings_file)
        site, choice = settings.engines.folder, app.backend_of(settings)
    changes: dict[str, Any] = {"backend": backend, "threads": threads}
    choice = BackendSettings(**{**vars(choice), **{key: value for key, value in changes.items() if value is not None}})
    return Where(site=site, choice=choice)


def listing(place: Where) -> dict[str, Any]:
    """Every engine: name, version, level, digest, from where, whether its files are the sealed ones, its plan."""
    return {
        "backend": describe(place.choice),
        "engines": [_listed(name, place) for name in _names(place, ())],
    }


def verify(place: Where, names: Sequence[str]) -> dict[str, Any]:
    """Digests, a load and the recorded cases on the configured backend, for each; `passed` says whether all did."""
    with _ours():
        files = sum(store.verify(folder) for folder in dict.fromkeys((None, place.site)))
    engines = []
    for name in _names(place, names):
        entry: dict[str, Any] = {"engine": name, "passed": False, "cases": [], "reason": ""}
        try:
            spec = store.find_spec(name, place.site)
            with open_engine(spec, place.choice) as engine:
                found = compare(engine, recorded_cases(spec))
            entry |= {"version": spec.version, "passed": all(d.passed for d in found), "cases": _figures(found)}
        except EngineError as error:
            entry["reason"] = str(error)
        engines.append(entry)
    passed = all(entry["passed"] for entry in engines)
    return {"backend": describe(place.choice), "files": files, "passed": passed, "engines": engines}


def bench(place: Where, names: Sequence[str], *, runs: int) -> dict[str, Any]:
    """Milliseconds per slice of the usual shape on the configured backend."""
    engines = []
    for name in _names(place, names):
        with _ours():
            spec = store.find_spec(name, place.site)
            with open_engine(spec, place.choice) as engine:
                timing = time_engine(engine, runs=runs)
        engines.append({"engine": name, "version": spec.version, **asdict(timing)})
    return {"backend": describe(place.choice), "engines": engines}


def build(place: Where, names: Sequence[str], *, precision: Precision) -> dict[str, Any]:
    """TensorRT plans for the GPU of this machine, each proven on its recorded cases before it counts."""
    plans = place.choice.plans
    if plans is None:
        raise BadSetting(
            "There is no folder for plans.", fix="Name the settings file with -c; engines.plans says where."
        )
    built = []
    with _ours():
        from engines.build import build as build_plan

        plans.mkdir(parents=True, exist_ok=True)
        for name in _names(place, names):
            spec = store.find_spec(name, place.site)
            plan = build_plan(spec, plans, precision=precision, device=place.choice.device)
            built.append(
                {
                    "engine": name,
                    "version": spec.version,
                    "plan_bytes": plan.plan_bytes,
                    "machine": asdict(plan.machine),
                    "cases": _figures(plan.parity),
                }
            )
    return {"folder": str(plans), "engines": built}


def add(place: Where, onnx: Path, spec: Path, *, to: Path | None, cases: Path | None, replace: bool) -> dict[str, Any]:
    """Check a site's own network, run it, and put it into `to` or the folder of the settings."""
    folder = to or place.site
    if folder is None:
        raise BadSetting(
            "There is no folder for engines of the site.", fix="Name one with --to, or set engines.folder."
        )
    with _ours():
        from engines.add import add as add_engine

        added = add_engine(onnx, spec, folder, cases=cases, replace=replace, threads=place.choice.threads)
    return {
        "engine": added.spec.name,
        "version": added.spec.version,
        "sha256": added.spec.sha256,
        "folder": str(folder),
        "recorded": added.recorded,
        "cases": _figures(added.differences),
    }


def record_cases(place: Where, name: str) -> dict[str, Any]:
    """Record the cases of an engine anew; whoever does vouches for its weights."""
    with _ours():
        spec = store.find_spec(name, place.site)
        cases = record(spec, threads=place.choice.threads)
    return {"engine": name, "version": spec.version, "folder": str(spec.folder), "cases": [case.name for case in cases]}


def export_triton(place: Where, folder: Path, names: Sequence[str], *, device: Device) -> dict[str, Any]:
    """Put the engines into a model repository that a Triton server reads."""
    with _ours():
        made = [export(store.find_spec(name, place.site), folder, device=device) for name in _names(place, names)]
    return {"folder": str(folder), "engines": [{**asdict(one), "folder": str(one.folder)} for one in made]}


def _listed(name: str, place: Where) -> dict[str, Any]:
    with _ours():
        spec = store.find_spec(name, place.site)
    try:
        store.read_weights(spec)
        recorded_cases(spec)
        sealed = "as sealed"
    except EngineError as error:
        sealed = str(error)
    return {
        "engine": name,
        "version": spec.version,
        "validation_level": spec.validation_level.value,
        "sha256": spec.sha256,
        "from": "site" if spec.folder == place.site else "node",
        "files": sealed,
        "plan": _plan(spec, place.choice.plans),
    }


def _plan(spec: EngineSpec, plans: Path | None) -> str:
    """What can be said of the plan without a GPU."""
    from engines.plan import read_plan, read_sheet, sheet_path

    if plans is None or not sheet_path(plans, spec.name).exists():
        return "none"
    try:
        sheet = read_sheet(plans, spec.name)
        read_plan(plans, sheet)
    except PlanRefused as error:
        return f"refused: {error}"
    if sheet.onnx_sha256 != spec.sha256:
        return f"stale: of version {sheet.engine_version}"
    return f"{sheet.precision} for {sheet.machine.gpu}, {sheet.machine.library} {sheet.machine.library_version}"


def _names(place: Where, wanted: Sequence[str]) -> list[str]:
    with _ours():
        site = set() if place.site is None else set(store.names(place.site))
        known = sorted({*store.names(), *site})
    if unknown := [name for name in wanted if name not in known]:
        raise Refuse(f"There is no engine {unknown[0]!r}.", fix=f"Known are {', '.join(known)}.")
    return list(wanted) or known


def _figures(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    return [{**asdict(difference), "passed": difference.passed} for difference in differences]


@contextmanager
def _ours() -> Iterator[None]:
    """Errors of engines as errors of the node: one line, exit status 1; 2 when something has to be installed or set."""
    try:
        yield
    except EngineMissing as error:
        raise BadSetting(error.message, fix=error.fix) from error
    except EngineError as error:
        raise NodeError(error.message, fix=error.fix) from error
