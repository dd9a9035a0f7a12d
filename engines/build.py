"""Compile a network for the GPU of this machine, prove it on the recorded cases, and only then put the plan in place.

BuildFailed is an EngineError like those of `engines.engine`: TensorRT's own words, then the fix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engines import plan as plans_on_disk
from engines.cuda import Gpu
from engines.engine import BadSpec, EngineError, EngineSpec, PlanRefused, Precision
from engines.half import to_half
from engines.parity import Difference, recorded_cases, require
from engines.plan import Plan, Profile, digest, flags, wanted_profile
from engines.store import read_cases, read_weights
from engines.trt import Session
from engines.trt_library import RTX, Library, Messages, load_library, machine

WORKSPACE_MB: Final = 2048


class BuildFailed(EngineError):
    """TensorRT cannot make a plan of this network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """timing_cache: what the builder measured, for the next build; None where the library keeps none."""

    plan: bytes
    timing_cache: bytes | None


def build(
    spec: EngineSpec,
    plans: Path,
    *,
    precision: Precision = Precision.FP32,
    device: int = 0,
    workspace_mb: int = WORKSPACE_MB,
) -> Plan:
    """Compile `spec` for GPU `device`, compare it with ONNX Runtime's recorded answers, write it into `plans`.

    precision: fp32, or int8 with Q/DQ operators in the file: the file as it is; fp16: wide layers converted
    returns:   the sheet that was written beside the plan, with the parity figures
    raises:    BadSpec for a precision that is not accepted, BackendMissing without library, driver or GPU, BuildFailed,
               ParityFailed with the figures; a plan that was there before stays as it is
    """
    if precision not in spec.accepted:
        raise BadSpec(
            f"Engine {spec.name} passed its acceptance in {', '.join(spec.accepted)}, not in {precision}.",
            fix="Build it in one of these.",
        )
    library = load_library()
    recorded_cases(spec)  # nothing is compiled that could not be proven
    graph = graph_in(read_weights(spec), precision)
    with Gpu(device) as gpu:
        compiled = compile_graph(
            library,
            graph,
            wanted_profile(spec),
            workspace_bytes=workspace_mb << 20,
            timing_cache=plans_on_disk.read_timing_cache(plans, spec.name),
            compute_capability=gpu.compute_capability,
        )
        parity = prove(spec, library, compiled.plan, gpu)
        sheet = Plan(
            engine=spec.name,
            engine_version=spec.version,
            onnx_sha256=spec.sha256,
            graph_sha256=digest(graph),
            cases_sha256=digest(read_cases(spec)),
            precision=precision,
            machine=machine(library, gpu),
            profile=wanted_profile(spec),
            flags=flags(precision),
            workspace_mb=workspace_mb,
            plan_sha256=digest(compiled.plan),
            plan_bytes=len(compiled.plan),
            timing_cache_sha256=None if compiled.timing_cache is None else digest(compiled.timing_cache),
            parity=parity,
        )
    plans_on_disk.write(plans, sheet, compiled.plan, compiled.timing_cache)
    return sheet


def prove(spec: EngineSpec, library: Library, plan: bytes, gpu: Gpu) -> tuple[Difference, ...]:
    """Load a plan that was made a moment ago on the entered `gpu` and compare it with the recorded cases.

    raises: BuildFailed when the library does not load it, ParityFailed with the figures
    """
    try:
        with Session(spec, library, plan, gpu) as session:
            return require(session)
    except PlanRefused as error:
        raise BuildFailed(
            f"{library.name} {library.version} makes a plan of engine {spec.name}, but does not load it on {gpu.name} "
            f"(compute capability {gpu.compute_capability}): {error.message}",
            fix="The library may not support this GPU: try the other one of tensorrt and tensorrt_rtx, or run the "
            "network with another engines.backend.",
        ) from error


def graph_in(data: bytes, precision: Precision) -> bytes:
    """The ONNX model that TensorRT is given for `precision`. Raises BackendMissing, BadSpec."""
    return to_half(data) if precision is Precision.FP16 else data


def compile_graph(
    library: Library,
    graph: bytes,
    profile: Profile,
    *,
    workspace_bytes: int = WORKSPACE_MB << 20,
    timing_cache: bytes = b"",
    compute_capability: str | None = None,
) -> Compiled:
    """A plan of `graph`, not yet known to be right. TensorRT-RTX does this without a GPU.

    graph:              a self-contained ONNX model
    timing_cache:       of an earlier build, or empty
    compute_capability: of the GPU, such as "8.9"; TensorRT-RTX else compiles for all that it prefers. One that it does
                        not name is left to it: whether it loads the plan there is what `prove` asks
    raises:             BuildFailed with what the library said
    """
    trt = library.module
    messages = Messages(trt)
    builder = trt.Builder(messages.logger)
    if builder is None:
        raise BuildFailed(f"{library.name} cannot start: {messages.told()}.", fix="Check the GPU with `nvidia-smi`.")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, messages.logger)
    if not parser.parse(graph):
        raise BuildFailed(
            f"{library.name} {library.version} cannot read the network: {_parser_errors(parser)}.",
            fix="Run it with another engines.backend, or export it without these operators.",
        )
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if library.name == RTX and compute_capability is not None:
        _target(trt, config, compute_capability)
    if profile:
        _add_profile(builder, config, profile, messages)
    # RTX keeps no timings: it chooses when the plan is loaded, on the GPU that it is loaded on.
    cache = None if library.name == RTX else _timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildFailed(
            f"{library.name} {library.version} makes no plan with {workspace_bytes >> 20} MB of workspace: "
            f"{messages.told()}.",
            fix="If it asks for memory, raise the workspace; else run the network with another engines.backend.",
        )
    return Compiled(plan=bytes(plan), timing_cache=None if cache is None else bytes(cache.serialize()))


def _add_profile(builder: Any, config: Any, profile: Profile, messages: Messages) -> None:
    shapes = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in profile.items():
        shapes.set_shape(name, smallest, usual, largest)
    if config.add_optimization_profile(shapes) < 0:
        raise BuildFailed(
            f"TensorRT does not take the profile {_told(profile)}: {messages.told()}.",
            fix="Correct [profile] in the specification: smallest, usual and largest length, in this order.",
        )


def _target(trt: Any, config: Any, compute_capability: str) -> None:
    """Compile for one GPU; without this, RTX leaves out Turing and optimises for none of the others."""
    target = trt.ComputeCapability.__members__.get(f"SM{compute_capability.replace('.', '')}")
    if target is not None:
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(target, 0):
            raise BuildFailed(
                f"TensorRT-RTX does not compile for compute capability {compute_capability}.",
                fix="Run the network with another engines.backend.",
            )


def _timing_cache(config: Any, known: bytes) -> Any:
    """Of this GPU and version, or else an empty one: TensorRT refuses another machine's."""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _parser_errors(parser: Any) -> str:
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        where = f"operator {error.node_operator()} (node {error.node()}): " if error.node() >= 0 else ""
        found.append(f"{where}{error.code().name}: {' '.join(error.desc().split()).rstrip('.')}")
    return "; ".join(found) or "it gave no reason"


def _told(profile: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {' / '.join(str(list(s)) for s in shapes)}" for name, shapes in profile.items())
