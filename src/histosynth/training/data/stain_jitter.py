"""Stain jitter: a patch as it might have been stained in another laboratory.

Tellez et al. ("Whole-slide mitosis detection ...", IEEE TMI 2018) separate a patch into stain concentrations c, draw a
factor and a shift for each, and recombine them:

    c' = α c + β,   α ~ U(1 - s, 1 + s),   β ~ U(-s, s),

with s = 0.05; their comparison (Medical Image Analysis 2019) calls 0.05 "HED-light" and 0.2 "HED-strong". They jitter
hematoxylin, eosin and the residual third stain of Ruifrok and Johnston. Here the stains are hematoxylin and eosin of
the default target, and the residual density is kept. The change fades out where tissue does, because a shift would
stain glass:

    od' = od + w(od) ((α - 1) c + β) S,   c = od pinv(S),   rows of S: h, e,

w = 0 up to the density of glass and 1 from twice that on. Densities are natural logarithms, as everywhere in `stain`.
From s = 0.2 on, shifts of both stains together can make pale tissue as pale as glass.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from histosynth.stain.normalizer import GLASS_DENSITY
from histosynth.stain.optical_density import I0
from histosynth.stain.two_stains import TARGET

_STAINS = torch.tensor(TARGET.stains)
_UNMIXING = torch.tensor(np.linalg.pinv(np.array(TARGET.stains)), dtype=torch.float32)


def random_stain(x: Tensor, *, strength: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Jitter the stains of each image of (B, 3, H, W) by its own generator; `strength` is s of the equation above."""
    drawn = torch.stack([torch.rand(2, 2, generator=generator) for generator in generators], dim=1)
    factors, shifts = drawn.mul_(2 * strength).sub_(strength)
    return jitter(x, factors=1 + factors, shifts=shifts)


def jitter(x: Tensor, *, factors: Tensor, shifts: Tensor) -> Tensor:
    """Scale and shift the concentrations of hematoxylin and eosin of each image.

    Args:
        x: (B, 3, H, W) in [-1, 1], on any device.
        factors: α of hematoxylin and eosin, (B, 2), on the CPU.
        shifts: β of both, (B, 2), on the CPU, in optical density along unit vectors.


    Returns:
        Images of the same shape and range.
    """
    scaling = (_UNMIXING * (factors - 1)[:, None]) @ _STAINS  # (B, 3, 3): od -> (α - 1) c S
    shift = shifts @ _STAINS
    density = -torch.log(((x + 1) * 127.5 + 1) / I0)
    weight = (density.amax(1, keepdim=True) / GLASS_DENSITY - 1).clamp(0, 1)
    change = torch.einsum("bchw,bcd->bdhw", density, scaling.to(x.device)) + shift.to(x.device)[..., None, None]
    density = density + weight * change
    return ((I0 * torch.exp(-density) - 1) / 127.5 - 1).clamp(-1, 1)
