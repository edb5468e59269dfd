"""Arithmetic throughput of training on GPUs: TFLOP/s, and the share of the GPU's peak.

The work per image is that of the convolutions and matrix products of one forward pass, three times: a backward pass
computes two products for each one of the forward pass. Recomputed activations do not count (model FLOP utilization,
Chowdhery et al. 2022, appendix B).
"""

import re
from dataclasses import dataclass
from functools import partial

import torch

from histosynth.diffusion.denoiser import Denoiser
from histosynth.training.network_cost import evaluation_on_meta, measure

_PASSES = 3
_PEAKS_TFLOPS = {
    "V100": 125, "T4": 65, "A10": 125, "A30": 165, "A40": 149.7, "A6000": 154.8, "A100": 312, "L4": 121, "L40S": 362,
    "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "GH200": 989, "B200": 2250, "3090": 71.2,
    "4090": 165.2,
}  # fmt: skip
"""Dense matrix products of 16-bit numbers, summed in fp32, by the data sheets of NVIDIA. The first key counts of which
all words are in the name of the GPU."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What turns images per second into values of the log.

    Attributes:
        flop_per_image: operations to train on one image.
        gpus: their number.
        peak_tflops: of one GPU; None if it is not known, or does not apply to the precision.
    """

    flop_per_image: float
    gpus: int
    peak_tflops: float | None

    def values(self, images_per_second: float) -> dict[str, float]:
        """Return `tflops`, per GPU, and `share_of_peak` if the peak is known."""
        tflops = self.flop_per_image * images_per_second / self.gpus / 1e12
        share = {} if self.peak_tflops is None else {"share_of_peak": round(tflops / self.peak_tflops, 4)}
        return {"tflops": round(tflops, 2), **share}


def training_flop(denoiser: Denoiser, *, image_px: int) -> float:
    """Return the operations to train a denoiser on one image."""
    return _PASSES * measure(partial(evaluation_on_meta(denoiser, image_px=image_px), 1)).flop


def peak_tflops(device: torch.device, *, precision: str) -> float | None:
    """Return the peak of a GPU in 16-bit precision; None for another precision or an unknown device."""
    if device.type != "cuda" or precision not in ("bf16", "fp16"):
        return None
    words = set(re.split(r"[\s-]+", torch.cuda.get_device_name(device)))
    return next((peak for name, peak in _PEAKS_TFLOPS.items() if words.issuperset(name.split())), None)
