"""Choice of the device."""

import torch

from histosynth.errors import HistosynthError


def pick_device(name: str | None = None) -> torch.device:
    """Return the named device; by default CUDA if available, else Apple's MPS, else the CPU.

    Raises:
        HistosynthError: the device is not available.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HistosynthError(
            f"device '{name}' is not available: {str(error).splitlines()[0]}; pass another --device"
        ) from error
    return device


def has_native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 in hardware; a CPU emulating it is ten times slower than in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Private names, absent from some releases; no public function distinguishes native from emulated bf16.

        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False
