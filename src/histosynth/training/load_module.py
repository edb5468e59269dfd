"""Loading the tensors of a weights file into the module that its settings describe.

The file may come from anybody. Its header, which is small, is compared with the module before any of the two takes
memory; and its values must be finite, because weights of a diverged training sample black patches.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file
from torch import nn

from histosynth.errors import HistosynthError

Module = TypeVar("Module", bound=nn.Module)


def load_module(path: Path, build: Callable[[], Module]) -> Module:
    """Build a module and load the weights of a file into it, on the CPU.

    Raises:
        HistosynthError: the weights do not match the module, or are not finite.
    """
    # Names and shapes, without memory for the tensors.
    with torch.device("meta"):
        expected = {name: list(tensor.shape) for name, tensor in build().state_dict().items()}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    except safetensors.SafetensorError as error:
        raise HistosynthError(f"{path} is not a readable safetensors file ({error}); pass a weights file") from error
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            raise HistosynthError(
                f"{path}: the weights do not match the settings in the file ({name} is {_shape(shapes.get(name))}, not "
                f"{_shape(expected.get(name))}); pass an intact weights file"
            )

    # The values.
    weights = load_file(path)
    for name, tensor in weights.items():
        if not tensor.float().isfinite().all():
            raise HistosynthError(
                f"{path}: {name} is not finite, as after a diverged training; pass earlier weights, or train again"
            )
    module = build()
    module.load_state_dict(weights)
    return module


def _shape(shape: list[int] | None) -> str:
    return "absent" if shape is None else f"of shape {shape}"
