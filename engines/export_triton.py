"""A model repository for a Triton Inference Server, made of the node's engines.

    DIR/NAME/config.pbtxt          tensors, the versions that may be served, the digest of each
    DIR/NAME/VERSION/model.onnx    the validated network, self-contained

Triton's versions are numbers: 1.2.3 becomes 1002003. A folder is written aside and renamed, and the configuration,
which decides what is served, comes last: a server that reads meanwhile sees the old state or the new one.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from engines.engine import BadSpec, DigestMismatch, EngineFailed, EngineSpec, TensorSpec
from engines.store import read_weights, write_synced

DATATYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
"""numpy's names -> the KServe v2 protocol's."""

_MODEL: Final = "model.onnx"
_CONFIG: Final = "config.pbtxt"


class Device(StrEnum):
    """What the server computes on. Never left to the server, which would take a CPU in silence when it sees no GPU."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One engine in a model repository. `written`: False if it was there already, byte for byte."""

    engine: str
    version: str
    sha256: str
    folder: Path
    written: bool


def version_number(spec: EngineSpec) -> str:
    """The version as Triton counts: `major.minor.patch` as one number. Raises BadSpec if it cannot be one."""
    match = re.fullmatch(r"(\d{1,9})\.(\d{1,3})\.(\d{1,3})", spec.version)
    number = int(match[1]) * 1_000_000 + int(match[2]) * 1_000 + int(match[3]) if match else 0
    if not number:
        raise BadSpec(
            f"Engine {spec.name}: Triton numbers its versions, and {spec.version!r} gives no number.",
            fix="Write it as major.minor.patch, minor and patch below 1000, not all 0.",
        )
    return str(number)


def served_sha256(spec: EngineSpec) -> str:
    """Digest of what a server is given: of the self-contained network, external data included. Raises as the store."""
    return hashlib.sha256(read_weights(spec)).hexdigest()


def label(version: str) -> str:
    """The model parameter that carries the digest of a version: one configuration serves them all."""
    return f"sha256_{version}"


def wire_shape(tensor: TensorSpec) -> list[int]:
    """The shape as the protocol writes it: -1 where a length is free."""
    return [length if isinstance(length, int) else -1 for length in tensor.shape]


def configuration(spec: EngineSpec, sha256: Mapping[str, str], device: Device) -> str:
    """The text of config.pbtxt.

    sha256: version number -> digest; only these are served
    """
    versions = sorted(sha256, key=int)
    lines = [
        "# Made by `imaging-node engines export-triton`, which refuses to go on after any other change to this file.",
        f'name: "{spec.name}"',
        'platform: "onnxruntime_onnx"',
        # The batch is the first free dimension: what a slice becomes must not depend on who else asks at that moment.
        "max_batch_size: 0",
        *(f"input [{_tensor(tensor)}]" for tensor in spec.inputs),
        *(f"output [{_tensor(tensor)}]" for tensor in spec.outputs),
        f"version_policy: {{ specific: {{ versions: [ {', '.join(versions)} ] }} }}",
        f"instance_group [ {{ count: 1 kind: KIND_{device.name} }} ]",
    ]
    if device is Device.GPU:
        # TF32 keeps 10 bits of the mantissa, which is 2 HU in 2000; the engines passed their acceptance in fp32.
        cuda = '{ name: "cuda" parameters { key: "use_tf32" value: "0" } }'
        lines.append(f"optimization {{ execution_accelerators {{ gpu_execution_accelerator: [ {cuda} ] }} }}")
    lines += [
        f'parameters {{ key: "{label(version)}" value: {{ string_value: "{sha256[version]}" }} }}'
        for version in versions
    ]
    return "\n".join(lines) + "\n"


def export(spec: EngineSpec, folder: Path, *, device: Device = Device.CPU) -> Exported:
    """Put an engine into the model repository `folder`; other engines and other versions in it stay.

    raises: DigestMismatch when the version is there with another network, BadSpec when the configuration there is
            not what this engine gets, EngineFailed when `folder` cannot be written; EngineMissing, UnsafeWeights
    """
    data = read_weights(spec)
    digest, version, model = hashlib.sha256(data).hexdigest(), version_number(spec), folder / spec.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            there = _versions(model)
            if there.get(version, digest) != digest:
                raise DigestMismatch(
                    f"{model / version} holds another network: sha256 {there[version][:16]}…, not {digest[:16]}….",
                    fix="A version never changes: give the new network a new version, or export to another folder.",
                )
            wanted = configuration(spec, there | {version: digest}, device)
            others = {number: there[number] for number in there if number != version}
            found = _configuration_of(model)
            if found not in (wanted, configuration(spec, others, device)) and (model.exists() or found is not None):
                raise BadSpec(
                    f"{model / _CONFIG} is not what engine {spec.name} {spec.version} gets on a {device}.",
                    fix="It was changed, or made for another device or other tensors: export to another folder.",
                )
            fresh = version not in there or found != wanted
            if not model.exists():
                _place(model, {f"{version}/{_MODEL}": data, _CONFIG: wanted.encode()})
            elif version not in there:
                _place(model / version, {_MODEL: data})
            if found != wanted and found is not None:
                write_synced(model / _CONFIG, wanted.encode())
    except OSError as error:
        raise EngineFailed(
            f"The model repository {folder} cannot be written: {error.strerror}.", fix="Name another folder."
        ) from error
    return Exported(engine=spec.name, version=version, sha256=digest, folder=model, written=fresh)


def _tensor(tensor: TensorSpec) -> str:
    dims = ", ".join(map(str, wire_shape(tensor)))
    return f' {{ name: "{tensor.name}" data_type: TYPE_{DATATYPES[tensor.dtype]} dims: [ {dims} ] }} '


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One export at a time, so that what lies aside is nobody's but ours."""
    with (folder / ".export.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _versions(model: Path) -> dict[str, str]:
    """Version number -> digest of its network, of what lies in the model's folder."""
    numbered = [path for path in model.glob("*") if re.fullmatch(r"[1-9]\d*", path.name)]
    return {path.name: hashlib.sha256((path / _MODEL).read_bytes()).hexdigest() for path in numbered}


def _configuration_of(model: Path) -> str | None:
    path = model / _CONFIG
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def _place(folder: Path, files: Mapping[str, bytes]) -> None:
    """A new folder with these files, all of them there from the first moment."""
    aside = folder.with_name(f".{folder.name}.part")
    if aside.exists():
        shutil.rmtree(aside)  # of an export that was killed
    for name, data in files.items():
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        write_synced(aside / name, data)
    aside.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
