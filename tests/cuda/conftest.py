"""A CUDA device without a GPU: tensors with shapes, types, formats and the device "cuda", but without values.

Under `fake_cuda`, PyTorch's FakeTensorMode carries the tensors, so a tensor left on the CPU, a mixture of types and a
wrong shape raise as they would on a GPU; autocast is that of CUDA. Everything that makes the CPU wait for the GPU
(`item`, `tolist`, `bool`, `cpu`, …) is counted with the line of histosynth that asked, and answered with ones. So is a
copy to the GPU that is not `non_blocking`, or not from pinned memory.

What is not real: values, the time, and the backward pass. Autograd needs a CUDA context, so gradients are zeros of the
right type; `norm_act` is our only backward pass, and has its own test. PyTorch has no public functions for some of
this; the private ones are patched in this file only.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode

import histosynth.diffusion.build
import histosynth.diffusion.discrete
import histosynth.training.classifier_task
import histosynth.training.step_inputs
from histosynth.diffusion.samplers.time_grid import TimeGrid
from histosynth.diffusion.variational import Posterior
from histosynth.training.data.ahead import Ahead

_SOURCE = "/src/histosynth/"
_READS = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}
_SENDS = {"to", "cuda", "tensor", "as_tensor"}


class Waits(TorchFunctionMode):
    """Counts what waits for the GPU, by file, line and function; answers reads with ones (False for a truth value)."""

    def __init__(self, pinned: "PinnedMemory") -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()
        self._pinned = pinned

    @property
    def total(self) -> int:
        """Number of waits."""
        return self.counts.total()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, x = getattr(func, "__name__", ""), args[0] if args else None
        if not isinstance(x, Tensor) or (x.device.type == "cpu" and name not in _READS):
            result = func(*args, **kwargs)
            sent = isinstance(result, FakeTensor) and result.device.type == "cuda"
            if sent and name in _SENDS and not (kwargs.get("non_blocking") and x in self._pinned):
                self._add(name)
            if name == "__getitem__" and x in self._pinned:  # rows of pinned memory
                self._pinned.pin(result)
            return result
        if not isinstance(x, FakeTensor):
            return func(*args, **kwargs)
        on_gpu = x.device.type == "cuda"
        if name in _READS:
            if on_gpu:
                self._add(name)
            return _ones(x, name)
        result = func(*args, **kwargs)
        if on_gpu and isinstance(result, Tensor) and (result.device.type == "cpu" or name in ("nonzero", "unique")):
            self._add(name)
        return result

    def _add(self, name: str) -> None:
        self.counts[_line_of_histosynth(), name] += 1


def _ones(x: FakeTensor, name: str) -> Any:
    """Return what `name` (`item`, `tolist`, …) returns for a tensor of ones, or of False."""
    kinds = {torch.bool: np.bool_, torch.int64: np.int64, torch.uint8: np.uint8}
    fill = np.zeros if x.dtype == torch.bool else np.ones
    values: Any = fill(tuple(x.shape), dtype=kinds.get(x.dtype, np.float32))
    if name == "numpy":
        return values
    if name == "tolist":
        return values.tolist()
    value = values.reshape(-1)[0].item()
    return {"__bool__": bool, "__float__": float, "__int__": int, "__index__": int}.get(name, lambda each: each)(value)


def _line_of_histosynth() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        if _SOURCE in frame.f_code.co_filename:
            return f"{frame.f_code.co_filename.split(_SOURCE)[1]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside"


class PinnedMemory:
    """Tensors that would be in pinned memory. They are kept, so that no other one takes their place."""

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}

    def pin(self, x: Tensor) -> Tensor:
        """Record a tensor as pinned."""
        self._tensors[x.untyped_storage()._cdata] = x
        return x

    def __contains__(self, x: object) -> bool:
        return isinstance(x, Tensor) and x.untyped_storage()._cdata in self._tensors


class FakeCuda:
    """What a test needs of the fake device."""

    def __init__(self, pinned: PinnedMemory) -> None:
        self.parameters: list[Tensor] = []
        self.pinned, self.free_bytes = pinned, 0

    def accelerator(self, precision: str) -> Accelerator:
        """Return a real accelerator whose device is a GPU."""
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        accelerator = Accelerator(cpu=True, mixed_precision="bf16" if precision == "bf16" else "no")
        PartialState().device = accelerator.state.device = torch.device("cuda")
        if precision == "fp16":  # a scaler needs a GPU from the start
            accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
            accelerator.scaler = torch.amp.GradScaler("cuda")
        return accelerator

    def with_values(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with real tensors on the CPU, as it is outside the fixture."""
        return _with_values(function)

    def receives_gradients(self, model: nn.Module) -> None:
        """Make `backward` fill the gradients of this model."""
        self.parameters = list(model.parameters())


@pytest.fixture
def pinned_memory() -> PinnedMemory:
    return PinnedMemory()


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch, pinned_memory: PinnedMemory) -> Iterator[FakeCuda]:
    """Make "cuda" a device of tensors without values."""
    fake = FakeCuda(pinned_memory)
    empty = histosynth.training.step_inputs.empty
    monkeypatch.setattr(
        histosynth.training.step_inputs,
        "empty",
        lambda *shape, pinned, **named: pinned_memory.pin(empty(*shape, pinned=False, **named)),
    )
    monkeypatch.setattr(histosynth.training.step_inputs, "pin", pinned_memory.pin)
    # Draws are made on the CPU, by a thread; fake tensors know one thread only.
    monkeypatch.setattr(Ahead, "take", lambda self, position: _with_values(self._make)(position))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (fake.free_bytes, 1 << 40))
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(nn.Module, "_apply", _apply)
    monkeypatch.setattr(torch.inference_mode, "__enter__", _enter_no_grad)
    monkeypatch.setattr(torch.inference_mode, "__exit__", _exit_no_grad)
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss, *_, **__: _backward(loss, fake.parameters))
    monkeypatch.setattr(torch.autograd, "grad", _grad)
    _patch_convolutions(monkeypatch)
    # Tables and time grids need values, and their owners read them on the CPU before a tensor reaches the GPU.
    build_schedule = _with_values(histosynth.diffusion.build.build_schedule)
    monkeypatch.setattr(histosynth.diffusion.build, "build_schedule", build_schedule)
    monkeypatch.setattr(histosynth.training.classifier_task, "build_schedule", build_schedule)
    posterior = _with_values(Posterior)
    monkeypatch.setattr(histosynth.diffusion.discrete, "Posterior", posterior)
    monkeypatch.setattr(TimeGrid, "__init__", _time_grid)
    shapes = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=shapes):
        yield fake
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def _apply(self: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Replace parameters instead of swapping their data, which fake tensors do not support."""
    for child in self.children():
        _apply(child, function)
    for name, parameter in self._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                moved = function(parameter)
            if moved is not parameter:  # as otherwise an optimizer would keep the old one
                self._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
    for name, buffer in self._buffers.items():
        self._buffers[name] = None if buffer is None else function(buffer)
    return self


def _enter_no_grad(self: Any) -> None:
    """Enter `no_grad` instead of the inference mode, in which fake constants would move to a real GPU."""
    self.fake_context = torch.no_grad() if self.mode else nullcontext()
    self.fake_context.__enter__()


def _exit_no_grad(self: Any, *error: Any) -> None:
    self.fake_context.__exit__(*error)


def _backward(loss: Tensor, parameters: list[Tensor]) -> None:
    assert loss.requires_grad
    assert loss.device.type == "cuda"
    for parameter in parameters:
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _grad(outputs: Tensor, inputs: Tensor, **_: object) -> tuple[Tensor]:
    assert outputs.requires_grad
    return (inputs * 0 + 1,)


def _with_values(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return run


def _time_grid(self: TimeGrid, schedule: Any, count: int, *, like: Tensor) -> None:
    with unset_fake_temporarily():
        times = schedule.times(count)
        self.alpha, self.sigma = schedule.alpha(times.double()).tolist(), schedule.sigma(times.double()).tolist()
    self.last, self.times = count - 1, times.to(like.dtype)


def _patch_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose cuDNN, which keeps `channels_last`; without a GPU, a kernel is chosen that does not."""
    choose, backends = torch._C._select_conv_backend, torch._C._ConvBackend  # type: ignore[attr-defined]

    def choose_cudnn(*args: Any, **kwargs: Any) -> Any:
        x: Any = kwargs.get("input", args[0] if args else None)
        if getattr(x, "fake_device", x.device).type != "cuda":
            return choose(*args, **kwargs)
        return backends.CudnnTranspose if kwargs.get("transposed") else backends.Cudnn

    monkeypatch.setattr(torch._C, "_select_conv_backend", choose_cudnn)


@pytest.fixture
def waits(pinned_memory: PinnedMemory) -> Waits:
    """A counter of waits, to be entered inside the test."""
    return Waits(pinned_memory)
