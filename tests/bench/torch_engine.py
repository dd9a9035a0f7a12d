"""A shipped network in torch, with the weights of its ONNX file: the reference that compiled engines are timed beside.

For the bench only; needs torch, and onnx to read the weights.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.engine import EngineSpec, check_feeds
from engines.networks.kernel_unet import KernelUnet
from engines.networks.pu_unet import PuUnet, Shape
from engines.store import read_weights


class Mode(StrEnum):
    """How torch runs it."""

    EAGER = "eager"
    COMPILE = "torch.compile"
    GRAPH = "CUDA graph"
    COMPILE_GRAPH = "torch.compile + CUDA graph"


class Arithmetic(StrEnum):
    """fp16: wide layers only, what `engines.half` converts; HU and fixed filters stay in fp32."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"


class TorchEngine:
    """An Engine for feeds of one shape after the other; host arrays in, host arrays out, as every other backend."""

    def __init__(self, spec: EngineSpec, *, device: str, mode: Mode, arithmetic: Arithmetic) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.mode = mode
        self.arithmetic = arithmetic
        self._graph: Any = None
        self._inputs: list[Tensor] = []
        self._made: Tensor | None = None

    def __enter__(self) -> Self:
        torch.backends.cudnn.allow_tf32 = self.arithmetic is Arithmetic.TF32
        torch.backends.cuda.matmul.allow_tf32 = self.arithmetic is Arithmetic.TF32
        network = network_of(self.spec).to(self.device).to(memory_format=torch.channels_last)
        if self.arithmetic is Arithmetic.FP16:
            _keep_single(network, ("noise", "lock", "head"))
        compiled = self.mode in (Mode.COMPILE, Mode.COMPILE_GRAPH)
        self._run: Callable[..., Tensor] = torch.compile(network, dynamic=False) if compiled else network
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._graph, self._made = None, None
        self._inputs.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`."""
        check_feeds(self.spec, feeds)
        arrays = [torch.from_numpy(np.ascontiguousarray(feeds[tensor.name])) for tensor in self.spec.inputs]
        if self.mode in (Mode.GRAPH, Mode.COMPILE_GRAPH):
            made = self._replay(arrays)
        else:
            made = self._forward([array.to(self.device) for array in arrays])
        return {self.spec.outputs[0].name: made.float().cpu().numpy().copy()}

    def _forward(self, inputs: list[Tensor]) -> Tensor:
        half = self.arithmetic is Arithmetic.FP16
        with torch.autocast(self.device.type, torch.float16) if half else nullcontext():
            return self._run(*inputs)

    def _replay(self, arrays: list[Tensor]) -> Tensor:
        if self._graph is None or [array.shape for array in arrays] != [array.shape for array in self._inputs]:
            self._inputs = [array.to(self.device) for array in arrays]
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # cuDNN and the compiler choose before the capture
                for _ in range(3):
                    self._forward(self._inputs)
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._made = self._forward(self._inputs)
        for static, array in zip(self._inputs, arrays, strict=True):
            static.copy_(array)
        self._graph.replay()
        assert self._made is not None
        return self._made


def network_of(spec: EngineSpec) -> nn.Module:
    """The torch network behind a shipped ONNX file, with its weights. raises: KeyError for an engine it has none of."""
    model = onnx.load_model_from_string(read_weights(spec))
    weights = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    widths = tuple(weights[f"{name}.bias"].shape[0] for name in ("head", "down1", "down2"))
    network = {"ct_denoise": lambda: PuUnet(Shape(widths=widths)), "ct_kernel": lambda: KernelUnet(widths)}[spec.name]()
    missing, _ = network.load_state_dict({k: v for k, v in weights.items() if k in network.state_dict()}, strict=False)
    learned = {name for name, _ in network.named_parameters()}
    if left := learned & set(missing):
        raise KeyError(f"the ONNX file of {spec.name} has no {sorted(left)}")
    return network.eval()


def _keep_single(network: nn.Module, names: tuple[str, ...]) -> None:
    for name in names:
        part: Any = getattr(network, name)
        plain = part.forward

        def forward(x: Tensor, plain: Callable[[Tensor], Tensor] = plain) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                return plain(x.float())

        part.forward = forward
