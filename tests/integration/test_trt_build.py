"""TensorRT-RTX compiles here without a GPU: real plans, and the errors it really gives (1.7.1, November 2026).

What it says, in the words that reach the operator:

no optimization profile    Network has dynamic or shape inputs, but no optimization profile has been defined
profile out of order       Invalid optimization profiles for input tensors hu, ... satisfy MIN<=OPT<=MAX
unknown operator           INVALID_NODE: creator && "Plugin not found, ..."
known, not supported       UNSUPPORTED_NODE: false
garbage                    MODEL_DESERIALIZE_FAILED: ... Failed to parse the ONNX model
no bytes at all            Network must have at least one output (the parser takes them)
workspace of 1 kB          no tactics to implement the operation within workspace limit
workspace of 0             Compiling this graph requires workspace memory greater than 0
loading without a driver   None, and in its log: CUDA driver version is insufficient for CUDA runtime version
"""

import ctypes
import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from engines.build import BuildFailed, build, compile_graph, graph_in
from engines.engine import BackendMissing, BadSpec, PlanRefused, Precision
from engines.half import to_half
from engines.parity import recorded_cases
from engines.plan import digest, wanted_profile, write
from engines.store import load_spec, read_weights
from engines.trt import TrtEngine
from engines.trt_library import Library, Messages, deserialize, load_library
from tests.unit.test_plan import sheet

onnx = pytest.importorskip("onnx", reason="the package onnx makes the networks of these tests")

SPEC = load_spec("ct_denoise")
ENGINES = ("ct_denoise", "ct_kernel")


def no_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


without_driver = pytest.mark.skipif(not no_driver(), reason="an NVIDIA driver is here: tests/gpu tests what it does")


@pytest.fixture(scope="module")
def library() -> Library:
    try:
        return load_library()
    except BackendMissing as error:
        pytest.skip(str(error))


def network(operator: str, domain: str = "") -> bytes:
    """One node from x to y, free in two dimensions."""
    free = ["n", 1, "y", "x"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, free)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, free)],
    )
    opsets = [onnx.helper.make_opsetid("", 17), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_every_shipped_network_compiles_in_both_precisions(library: Library, name: str, precision: Precision) -> None:
    spec = load_spec(name)
    graph = graph_in(read_weights(spec), precision)
    compiled = compile_graph(library, graph, wanted_profile(spec))

    assert len(compiled.plan) > len(graph) // 2  # the weights are in it
    assert compiled.timing_cache is None  # RTX times kernels when a plan is loaded


@pytest.mark.parametrize("compute_capability", ["7.5", "8.9", "12.0", "9.0"])
def test_plans_are_made_for_the_gpu_that_is_named(library: Library, compute_capability: str) -> None:
    """9.0, a data-centre Hopper, is none of RTX's: it compiles for its own, and loading says no."""
    graph, profile = read_weights(SPEC), wanted_profile(SPEC)
    plan = compile_graph(library, graph, profile, compute_capability=compute_capability).plan

    assert len(plan) > len(graph) // 2


@pytest.mark.parametrize("name", ENGINES)
def test_fp16_stays_within_the_tolerance_of_the_specification(name: str) -> None:
    """ONNX Runtime runs the converted file as well: the figure without a GPU."""
    spec = load_spec(name)
    half = onnxruntime.InferenceSession(to_half(read_weights(spec)), providers=["CPUExecutionProvider"])
    for case in recorded_cases(spec):
        for output, expected in case.expected.items():
            (made,) = half.run([output], dict(case.feeds))
            assert made.dtype == np.float32
            assert np.max(np.abs(made - expected)) <= spec.tolerances[output]


def test_fp16_keeps_images_and_fixed_filters_in_fp32() -> None:
    model = onnx.load_model_from_string(to_half(read_weights(SPEC)))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    half = {tensor.name for tensor in weights.values() if tensor.data_type == onnx.TensorProto.FLOAT16}

    assert {"head.weight", "noise.mask"} <= weights.keys() - half  # the first layer reads HU
    assert {"enc1.first.weight/half", "tail.weight/half"} <= half
    assert "enc1.first.weight" not in weights  # no weight is kept twice
    assert {tensor.type.tensor_type.elem_type for tensor in (*model.graph.input, *model.graph.output)} == {1}


def test_the_same_network_gives_the_same_fp16_file() -> None:
    assert to_half(read_weights(SPEC)) == to_half(read_weights(SPEC))


def test_a_network_that_fp16_would_not_change_says_so() -> None:
    with pytest.raises(BadSpec, match="No layer of the network has 16 input channels"):
        to_half(network("Relu"))


def test_a_weight_beyond_fp16_is_refused() -> None:
    model = onnx.load_model_from_string(read_weights(SPEC))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "tail.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0] = 1e6
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, "tail.weight"))

    with pytest.raises(BadSpec, match=r"tail\.weight is beyond fp16's 65504\. Build the network in fp32"):
        to_half(model.SerializeToString())


@pytest.mark.parametrize(
    ("operator", "domain", "told"),
    [
        ("NoSuchOperator", "", r"operator NoSuchOperator \(node 0\): INVALID_NODE: .*Plugin not found"),
        ("Sharpen", "site.example", r"operator Sharpen \(node 0\): INVALID_NODE: .*Plugin not found"),
        ("Det", "", r"operator Det \(node 0\): UNSUPPORTED_NODE"),
    ],
)
def test_an_operator_that_tensorrt_does_not_know_is_named(
    library: Library, operator: str, domain: str, told: str
) -> None:
    with pytest.raises(BuildFailed, match=told + r".*another engines\.backend"):
        compile_graph(library, network(operator, domain), {"x": ((1, 1, 8, 8),) * 3})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"garbage", "cannot read the network: MODEL_DESERIALIZE_FAILED: .*Failed to parse the ONNX model"),
        (read_weights(SPEC)[:-1000], "cannot read the network: MODEL_DESERIALIZE_FAILED: "),
        (b"", "Network must have at least one output"),  # its parser takes no bytes at all for a network
    ],
)
def test_a_file_that_is_no_network_is_said_to_be_none(library: Library, data: bytes, told: str) -> None:
    with pytest.raises(BuildFailed, match=told):
        compile_graph(library, data, wanted_profile(SPEC))


def test_free_dimensions_without_a_profile_are_refused(library: Library) -> None:
    with pytest.raises(BuildFailed, match="dynamic or shape inputs, but no optimization profile has been defined"):
        compile_graph(library, read_weights(SPEC), {})


def test_a_profile_out_of_order_is_refused_with_its_shapes(library: Library) -> None:
    wrong = {"hu": ((1, 1, 512, 512), (1, 1, 64, 64), (1, 1, 1024, 1024))}

    with pytest.raises(BuildFailed, match=r"profile hu \[1, 1, 512, 512\] / .*MIN<=OPT<=MAX.*Correct \[profile\]"):
        compile_graph(library, read_weights(SPEC), wrong)


@pytest.mark.parametrize(
    ("size", "told"),
    [(1024, "no tactics to implement the operation within workspace limit"), (0, "workspace memory greater than 0")],
)
def test_too_little_workspace_says_what_to_raise(library: Library, size: int, told: str) -> None:
    with pytest.raises(BuildFailed, match=f"{told}.*raise the workspace"):
        compile_graph(library, read_weights(SPEC), wanted_profile(SPEC), workspace_bytes=size)


def test_no_message_shows_where_nvidia_keeps_its_sources(library: Library) -> None:
    with pytest.raises(BuildFailed) as caught:
        compile_graph(library, read_weights(SPEC), {})

    assert "/_src/" not in str(caught.value)


@without_driver
def test_what_rtx_made_is_not_loaded_without_a_driver_and_that_is_our_error(library: Library) -> None:
    plan = compile_graph(library, read_weights(SPEC), wanted_profile(SPEC)).plan
    messages = Messages(library.module)
    runtime = library.module.Runtime(messages.logger)

    with pytest.raises(PlanRefused, match=r"CUDA driver version is insufficient.*engines build ct_denoise"):
        deserialize(runtime, plan, SPEC, messages)


@without_driver
def test_building_without_a_driver_is_refused_and_writes_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match=r"no NVIDIA driver here: libcuda\.so\.1 .*backend of the CPU"):
        build(SPEC, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_was_never_accepted_is_not_built(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, accepted=(Precision.FP32,))
    with pytest.raises(BadSpec, match="passed its acceptance in fp32, not in fp16"):
        build(spec, tmp_path, precision=Precision.FP16)


@without_driver
def test_a_plan_without_a_driver_ends_in_a_message_not_in_a_crash(library: Library, tmp_path: Path) -> None:
    """In a process of its own: TensorRT's runtime takes the process with it where no driver is."""
    plan = compile_graph(library, read_weights(SPEC), wanted_profile(SPEC)).plan
    write(tmp_path, dataclasses.replace(sheet(), plan_sha256=digest(plan), plan_bytes=len(plan)), plan, None)
    script = f"""
        from pathlib import Path
        from engines.engine import BackendMissing
        from engines.store import load_spec
        from engines.trt import TrtEngine
        try:
            with TrtEngine(load_spec("ct_denoise"), Path({str(tmp_path)!r})):
                raise SystemExit("it ran")
        except BackendMissing as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "There is no NVIDIA driver here" in done.stdout


@without_driver
def test_the_engine_itself_says_that_there_is_no_driver(library: Library, tmp_path: Path) -> None:
    write(tmp_path, sheet(), bytes(range(256)), None)
    with pytest.raises(BackendMissing, match="no NVIDIA driver here"), TrtEngine(SPEC, tmp_path):
        pass
