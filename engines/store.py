"""Where specifications, weights and recorded cases lie, and the proof that they are the ones that were sealed.

SHA256SUMS        one line for each file below, as sha256sum writes it, sorted; every listed file has to fit
specs/NAME.toml   what the network takes and gives
weights/*         ONNX files, and their external data
cases/NAME.npz    recorded cases
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from engines.engine import BadSpec, DigestMismatch, EngineMissing, EngineSpec, UnsafeWeights
from engines.graph import BadGraph, External, Graph, inline, read
from engines.spec import fits_graph, parse

HERE: Final = Path(__file__).parent
SUMS: Final = "SHA256SUMS"
_PARTS: Final = {"specs": "*.toml", "weights": "*", "cases": "*.npz"}
_LINE: Final = re.compile(r"([0-9a-f]{64})  ((?:specs|weights|cases)/[A-Za-z0-9_][A-Za-z0-9_.-]*)")
_AGAIN: Final = "It was changed after it was sealed: install the engine again, and find out who changed it."
_LARGEST: Final = (1 << 31) - (1 << 20)  # bytes; protobuf messages end at 2 GiB


def load_spec(name: str, folder: Path | None = None) -> EngineSpec:
    """Read `specs/<name>.toml`, once its digest is known to be the sealed one.

    folder: holds SHA256SUMS; default: the engines that ship with the node
    raises: EngineMissing when there is no such file, DigestMismatch, BadSpec when it cannot be understood
    """
    base = folder or HERE
    if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
        raise EngineMissing(f"{name!r} is no engine name.", fix="Engine names are letters, digits and underscores.")
    return parse(_sealed(base, f"specs/{name}.toml", f"The specification of engine {name}"), name, base)


def find_spec(name: str, site: Path | None) -> EngineSpec:
    """The engine `name` of the site's folder if it is sealed there, else the one that ships. Raises as `load_spec`."""
    if site is not None and f"specs/{name}.toml" in read_sums(site):
        return load_spec(name, site)
    return load_spec(name)


def names(folder: Path | None = None) -> tuple[str, ...]:
    """The engines that are sealed in a folder, sorted. Raises DigestMismatch, EngineMissing."""
    return tuple(
        path.removeprefix("specs/").removesuffix(".toml")
        for path in read_sums(folder or HERE)
        if path.startswith("specs/")
    )


def weights_path(spec: EngineSpec) -> Path:
    """The ONNX file that `spec` names; it need not exist."""
    return spec.folder / "weights" / spec.weights


def read_weights(spec: EngineSpec) -> bytes:
    """The network as one self-contained ONNX model that fits its specification; external data are brought inside.

    The bytes are read once and handed on, so that what was hashed is what runs: no library opens a file by itself.

    raises: EngineMissing, DigestMismatch, UnsafeWeights, BadSpec
    """
    told = f"The weights of engine {spec.name} {spec.version}"
    data = _sealed(spec.folder, f"weights/{spec.weights}", told, sha256=spec.sha256)
    graph = graph_of(spec.name, data)
    fits_graph(spec, graph)
    if graph.externals:
        files = {
            name: _sealed(spec.folder, f"weights/{name}", f"External data {name} of engine {spec.name}")
            for name in external_files(spec.name, graph, spec.folder / "weights")
        }
        data = inline(data, lambda external: _slice(spec, external, files[external.location]))
    if len(data) > _LARGEST:
        raise UnsafeWeights(
            f"Engine {spec.name} is {len(data) >> 20} MB with its external data; 2047 MB is the most that ONNX takes.",
            fix="Such networks are not run here.",
        )
    return data


def graph_of(name: str, data: bytes) -> Graph:
    """What the ONNX file `data` of engine `name` asks for. Raises BadSpec when it is none."""
    try:
        return read(data)
    except BadGraph as error:
        raise BadSpec(
            f"The weights of engine {name} are no ONNX model: {error}.", fix="Export the network again."
        ) from error


def external_files(name: str, graph: Graph, folder: Path) -> tuple[str, ...]:
    """The external data files of a graph: plain files in `folder`, right beside the ONNX file (CVE-2022-25882).

    raises: UnsafeWeights for any that lies elsewhere, or is a link; EngineMissing
    """
    fix = "Export the network with its weights inside, or with one plain file beside it."
    found = dict.fromkeys(external.location for external in graph.externals)
    for location in found:
        if not _LINE.fullmatch(f"{'0' * 64}  weights/{location}"):  # a plain file name, as all that is sealed has
            raise UnsafeWeights(f"Engine {name} keeps weights in {location[:80]!a}, outside of its folder.", fix=fix)
        try:
            kind = (folder / location).lstat().st_mode
        except OSError as error:
            raise EngineMissing(
                f"External data {location} of engine {name} cannot be read: {error.strerror}.",
                fix="Put the file beside the ONNX file.",
            ) from error
        if not stat.S_ISREG(kind):
            raise UnsafeWeights(f"External data {location} of engine {name} is a link or no plain file.", fix=fix)
    return tuple(found)


def read_cases(spec: EngineSpec) -> bytes:
    """The recorded cases, once their digest is known to be the sealed one. Raises EngineMissing, DigestMismatch."""
    return _sealed(spec.folder, f"cases/{spec.name}.npz", f"The recorded cases of engine {spec.name}")


def verify(folder: Path | None = None) -> int:
    """Read every sealed file of a folder and compare; returns how many. Raises EngineMissing, DigestMismatch."""
    base = folder or HERE
    sums = read_sums(base)
    for path in sums:
        _sealed(base, path, f"{path} in {base}", sums=sums)
    return len(sums)


def reseal(folder: Path | None = None) -> Path:
    """Write SHA256SUMS anew from all that lies in `folder` now; whoever calls it vouches for every file there.

    For the export step, and for folders that were just made.

    returns: the file written, synced
    """
    base = folder or HERE
    found = {
        f"{part}/{path.name}"
        for part, pattern in _PARTS.items()
        for path in (base / part).glob(pattern)
        if path.is_file() and _LINE.fullmatch(f"{'0' * 64}  {part}/{path.name}")
    }
    return _write_sums(base, {path: _digest(base / path) for path in found})


def seal(folder: Path, paths: Iterable[str]) -> Path:
    """Put the files `paths`, relative to `folder`, into SHA256SUMS; the other lines stay, so nothing else is blessed.

    raises: DigestMismatch if SHA256SUMS itself was changed
    """
    known = read_sums(folder) if (folder / SUMS).exists() else {}
    return _write_sums(folder, {**known, **{path: _digest(folder / path) for path in paths}})


def write_synced(path: Path, data: bytes) -> None:
    """Write aside, sync, rename, sync the folder: after a power cut it is the old file or the new one, never half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_sums(folder: Path) -> Mapping[str, str]:
    """Relative path -> sha256. Every byte counts: a file that is not written as `reseal` does is refused."""
    path = folder / SUMS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineMissing(
            f"The digests of the engines in {folder} cannot be read ({SUMS}): {error.strerror}.",
            fix="Install the engines again; a folder of your own is sealed by `imaging-node engines add`.",
        ) from error
    found = [_LINE.fullmatch(line) for line in data.decode("ascii", "replace").split("\n")[:-1]]
    sums = {match[2]: match[1] for match in found if match}
    if not sums or _written([f"{digest}  {name}" for name, digest in sums.items()]) != data:
        raise DigestMismatch(f"{path} is not as it was sealed: some line of it cannot be understood.", fix=_AGAIN)
    return sums


def _write_sums(folder: Path, sums: Mapping[str, str]) -> Path:
    write_synced(folder / SUMS, _written([f"{digest}  {path}" for path, digest in sums.items()]))
    return folder / SUMS


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _written(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: line[66:])).encode()


def _sealed(
    folder: Path, path: str, told: str, *, sha256: str | None = None, sums: Mapping[str, str] | None = None
) -> bytes:
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        raise EngineMissing(
            f"{told} cannot be read from {folder / path}: {error.strerror}.",
            fix="Install the engine again or take the pipeline that needs it out of the settings.",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    sealed = (sums or read_sums(folder)).get(path)
    if sealed is None:
        raise DigestMismatch(
            f"{told} is not in {SUMS}.", fix="Add files with `imaging-node engines add`, not by copying them."
        )
    for wanted in {sealed, sha256 or sealed}:
        if found != wanted:
            raise DigestMismatch(f"{told}: sha256 is {found[:16]}…, not {wanted[:16]}….", fix=_AGAIN)
    return data


def _slice(spec: EngineSpec, external: External, data: bytes) -> bytes:
    end = len(data) if external.length is None else external.offset + external.length
    if not external.offset <= end <= len(data):
        raise UnsafeWeights(
            f"Engine {spec.name} reads bytes {external.offset} to {end} of {external.location}, which has {len(data)}.",
            fix="Export the network again.",
        )
    return data[external.offset : end]
