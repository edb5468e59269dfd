"""Group norm, affine map and SiLU in one step: y = silu(a x̂ + b), x̂ = (x - μ) / sqrt(v + ε) over each group.

`a` and `b` contain gain and bias of the norm and, in adaptive group norm, scale and shift of the embedding. Autograd
through separate operations stores the input of each; here only x̂ is stored, and a x̂ + b is recomputed in the backward
pass. With δ = dL/d(a x̂ + b) and ⟨·⟩ the mean over a group,

    da = Σ δ x̂,   db = Σ δ,   dx = (a δ - ⟨a δ⟩ - x̂ ⟨a δ x̂⟩) / sqrt(v + ε).

No large numbers cancel, so bf16 loses little accuracy. Statistics are in float32; everything else keeps the type of `x`
and has the channels innermost (`channels_last`), where convolutions are fastest. Autocast is off inside: on CUDA it
would compute, and store for the backward pass, all of this in float32.

Torch's own group norm suits neither device. On CUDA it returns the channels outermost. On the CPU its backward pass
works group by group, and the few channels of a group do not fill a vector register.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from histosynth.autocast import autocast_off

_SMALL = 1024  # pixels; below this, torch's forward pass of group norm works group by group as well


def norm_act(x: Tensor, a: Tensor, b: Tensor, *, groups: int, eps: float = 1e-5, silu: bool = True) -> Tensor:
    """Normalize `x` (B, C, H, W), apply `a` and `b`, (B, C) or (1, C), and then SiLU if `silu`."""
    with autocast_off(x):
        out: Tensor = _NormAct.apply(x, a, b, groups, eps, silu)
    return out


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, groups: int, eps: float, silu: bool) -> Tensor:
        image, scale = _normalize(x.contiguous(memory_format=torch.channels_last), groups, eps)
        ctx.save_for_backward(image, scale, a, b)
        ctx.groups, ctx.silu = groups, silu
        z = _affine(_pixels(image), a, b)
        return _image(F.silu(z, inplace=True) if silu else z, image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        with autocast_off(dy):
            return _NormAct._gradients(ctx, dy)

    @staticmethod
    def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        image, scale, a, b = ctx.saved_tensors
        x, delta = _pixels(image), _pixels(dy.contiguous(memory_format=torch.channels_last))
        if ctx.silu:
            delta = torch.ops.aten.silu_backward(delta, _affine(x, a, b))
        da, db = (delta * x).sum(1).to(a.dtype), delta.sum(1).to(a.dtype)  # (B, C); torch sums bf16 in float32
        slope, offset = (-scale * _over_groups(a * d / x.shape[1], ctx.groups) for d in (da, db))
        dx = _affine(x, slope, offset).addcmul_(delta, (scale * a).to(delta.dtype)[:, None])
        return _image(dx, image), da.sum_to_size(a.shape), db.sum_to_size(b.shape), None, None, None


def _normalize(image: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return x̂, and 1 / sqrt(v + ε) of each channel's group, (B, C) in at least float32."""
    batch, channels, height, width = image.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    if image.device.type != "cpu":
        return _normalize_on_gpu(image, groups, eps)
    if height * width < _SMALL:
        x = _pixels(image).to(dtype)
        x = x - _over_groups(x.mean(1), groups)[:, None]
        scale = (_over_groups(x.square().mean(1), groups) + eps).rsqrt()
        return _image((x * scale[:, None]).to(image.dtype), image), scale
    # The type of gain and offset is that of the statistics.
    one, zero = torch.ones(channels, dtype=dtype), torch.zeros(channels, dtype=dtype)
    x, _, scale = torch.native_group_norm(image, one, zero, batch, channels, height * width, groups, eps)
    return x, scale.repeat_interleave(channels // groups, dim=1)


def _normalize_on_gpu(image: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Do the same in few passes over the memory: one kernel reads `x`, converts it, and writes x̂ in the type of `x`."""
    x, size = _pixels(image), image.shape[1] // groups
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).view(*x.shape[:2], groups, size)
    variance, mean = torch.var_mean(wide, dim=(1, 3), correction=0)
    scale = (variance + eps).rsqrt()
    offset = -mean * scale
    scale, offset = (values.repeat_interleave(size, dim=1) for values in (scale, offset))
    normalized = torch.addcmul(offset[:, None], x, scale[:, None], out=torch.empty_like(x))
    return _image(normalized, image), scale


def _over_groups(values: Tensor, groups: int) -> Tensor:
    """Average over groups of channels, (B, C) -> (B, C)."""
    grouped = values.view(len(values), groups, -1)
    return grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1)


def _pixels(image: Tensor) -> Tensor:
    """View (B, C, H, W) in channels_last as (B, H W, C)."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _image(pixels: Tensor, like: Tensor) -> Tensor:
    """View (B, H W, C) as (B, C, H, W) in the shape of `like`."""
    batch, channels, height, width = like.shape
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _affine(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Compute a x + b in the precision of `x`."""
    return torch.addcmul(b.to(x.dtype)[:, None], x, a.to(x.dtype)[:, None])
