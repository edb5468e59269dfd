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


def draw_stain_changes(strength: float, *, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Draw α and β of hematoxylin and eosin, (B, 2) each, by one generator per image; `strength` is s."""
    drawn = torch.stack([torch.rand(2, 2, generator=generator) for generator in generators], dim=1)
    factors, shifts = drawn.mul_(2 * strength).sub_(strength)
    return 1 + factors, shifts


def density_changes(*, factors: Tensor, shifts: Tensor) -> Tensor:
    """Return the change of the optical density as an affine map of each image, on the CPU: (B, 4, 3).

    Args:
        factors: α of hematoxylin and eosin, (B, 2).
        shifts: β of both, (B, 2), in optical density along unit vectors.

    Returns:
        The matrix od -> od pinv(S) (α - 1) S, and in the last row the offset β S.
    """
    scaling = (_UNMIXING * (factors - 1)[:, None]) @ _STAINS
    return torch.cat([scaling, (shifts @ _STAINS)[:, None]], dim=1)


def jitter(x: Tensor, changes: Tensor) -> Tensor:
    """Apply `density_changes` (B, 4, 3) to images (B, 3, H, W) in [-1, 1], on their device."""
    density = -torch.log(((x + 1) * 127.5 + 1) / I0)
    weight = (density.amax(1, keepdim=True) / GLASS_DENSITY - 1).clamp(0, 1)
    change = torch.einsum("bchw,bcd->bdhw", density, changes[:, :3]) + changes[:, 3, :, None, None]
    density = density + weight * change
    return ((I0 * torch.exp(-density) - 1) / 127.5 - 1).clamp(-1, 1)
