"""Precision of the networks while sampling; the sampler's own arithmetic is always in at least float32."""

from typing import Literal

import torch

from histosynth.errors import HistosynthError
from histosynth.training.device import has_native_bf16

Precision = Literal["auto", "fp32", "bf16", "fp16"]
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_precision(name: Precision, device: torch.device) -> str:
    """Return the precision that the setting `sample.precision` selects on a device: `fp32`, `bf16` or `fp16`.

    Raises:
        HistosynthError: the device does not support it.
    """
    if name == "fp16" and device.type == "cpu":
        raise HistosynthError("sample.precision = fp16 needs a GPU; on a CPU, set it to fp32 or bf16")
    if name == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return name
