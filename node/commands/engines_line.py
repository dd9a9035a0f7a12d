"""The command line of `imaging-node engines`; what it does is in `engines.py` beside it."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.backends import Backend
from engines.engine import Precision
from engines.export_triton import Device
from node.commands.terminal import AsJson, out

app = typer.Typer(help="The networks: list, verify, time, compile, add.", no_args_is_help=True)

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "-c", "--settings", envvar="IMAGING_NODE_SETTINGS", help="The settings file; without, what ships, on the CPU."
    ),
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Engines; default: all.")]
OnBackend = Annotated[Backend | None, typer.Option(help="Instead of the settings' backend.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Instead of the settings' number of CPU threads.")]


@app.command("list")
def list_engines(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Name, version, validation level, digest, backend and plan of every engine."""
    from node.commands import engines

    _print(engines.listing(engines.where(settings, backend=None, threads=None)), _listing, as_json=as_json)


@app.command()
def verify(
    names: Names = None,
    settings: SettingsFile = None,
    backend: OnBackend = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Digests, a load, and the recorded cases on the backend; exit status 1 with the figures if any misses."""
    from node.commands import engines

    found = engines.verify(engines.where(settings, backend=backend, threads=threads), names or ())
    _print(found, _verified, as_json=as_json)
    if not found["passed"]:
        raise typer.Exit(1)


@app.command()
def bench(
    names: Names = None,
    settings: SettingsFile = None,
    backend: OnBackend = None,
    threads: Threads = None,
    runs: Annotated[int, typer.Option(min=1, help="Batches that count.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Milliseconds per slice of the usual shape."""
    from node.commands import engines

    place = engines.where(settings, backend=backend, threads=threads)
    _print(engines.bench(place, names or (), runs=runs), _timed, as_json=as_json)


@app.command()
def build(
    names: Names = None,
    settings: SettingsFile = None,
    precision: Annotated[Precision, typer.Option(help="One that the engine was accepted in.")] = Precision.FP32,
    as_json: AsJson = False,
) -> None:
    """Compile TensorRT plans for this machine's GPU; each is compared with its recorded cases before it counts."""
    from node.commands import engines

    place = engines.where(settings, backend=None, threads=None)
    _print(engines.build(place, names or (), precision=precision), _built, as_json=as_json)


@app.command()
def add(
    onnx: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The network.")],
    spec: Annotated[Path, typer.Option(help="NAME.toml: what it takes and gives.")],
    to: Annotated[Path | None, typer.Option(help="Folder; default: engines.folder of the settings.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Recorded cases it has to pass; default: record them now.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="An engine of that name may be there.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a network of your own: operators, shapes, paths and digest are checked, it is run, then copied."""
    from node.commands import engines

    place = engines.where(settings, backend=None, threads=None)
    _print(engines.add(place, onnx, spec, to=to, cases=cases, replace=replace), _added, as_json=as_json)


@app.command("export-triton")
def export_triton(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The server's model repository.")],
    names: Names = None,
    device: Annotated[Device, typer.Option(help="What the server computes on.")] = Device.CPU,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Put engines into a model repository for Triton; what is there already stays."""
    from node.commands import engines

    place = engines.where(settings, backend=None, threads=None)
    _print(engines.export_triton(place, folder, names or (), device=device), _exported, as_json=as_json)


@app.command()
def record(
    name: Annotated[str, typer.Argument(help="The engine.")], settings: SettingsFile = None, as_json: AsJson = False
) -> None:
    """Record an engine's cases anew with ONNX Runtime on the CPU. Who does that vouches for the weights."""
    from node.commands import engines

    place = engines.where(settings, backend=None, threads=None)
    _print(engines.record_cases(place, name), _recorded, as_json=as_json)


def _print(found: dict[str, Any], text: Any, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for line in text(found):
        out.print(line, markup=False)


def _listing(found: dict[str, Any]) -> Iterable[str]:
    yield f"backend: {found['backend']}"
    for one in found["engines"]:
        yield (
            f"{one['engine']} {one['version']}  level {one['validation_level']}  sha256 {one['sha256'][:16]}  "
            f"from the {one['from']}, {one['files']}  plan: {one['plan']}"
        )


def _verified(found: dict[str, Any]) -> Iterable[str]:
    yield f"{found['files']} sealed files are unchanged; backend: {found['backend']}"
    for one in found["engines"]:
        yield f"{one['engine']}: {'passed' if one['passed'] else 'FAILED'}{one['reason'] and '. ' + one['reason']}"
        yield from _cases(one["cases"])


def _timed(found: dict[str, Any]) -> Iterable[str]:
    yield f"backend: {found['backend']}"
    for one in found["engines"]:
        shape = ", ".join(f"{name} {'x'.join(map(str, lengths))}" for name, lengths in one["shape"].items())
        yield (
            f"{one['engine']} {one['version']}: {one['median_ms']} ms per slice "
            f"({one['best_ms']} to {one['worst_ms']}, {one['runs']} runs; {shape})"
        )


def _built(found: dict[str, Any]) -> Iterable[str]:
    for one in found["engines"]:
        machine = one["machine"]
        yield (
            f"{one['engine']} {one['version']}: plan of {one['plan_bytes']} bytes in {found['folder']} for "
            f"{machine['gpu']}, {machine['library']} {machine['library_version']}"
        )
        yield from _cases(one["cases"])


def _added(found: dict[str, Any]) -> Iterable[str]:
    how = "cases recorded" if found["recorded"] else "cases passed"
    yield f"{found['engine']} {found['version']} is in {found['folder']}, sha256 {found['sha256'][:16]}; {how}"
    yield from _cases(found["cases"])


def _recorded(found: dict[str, Any]) -> Iterable[str]:
    yield f"{found['engine']} {found['version']}: {', '.join(found['cases'])} recorded in {found['folder']}"


def _exported(found: dict[str, Any]) -> Iterable[str]:
    for one in found["engines"]:
        yield f"{one['engine']} version {one['version']}: {'written to' if one['written'] else 'is'} {one['folder']}"


def _cases(cases: Iterable[dict[str, Any]]) -> Iterable[str]:
    for case in cases:
        said = "ok" if case["passed"] else "MISSED"
        yield f"  {said}  {case['case']}, {case['output']}: {case['worst']:.3g} off, at most {case['limit']:g}"
