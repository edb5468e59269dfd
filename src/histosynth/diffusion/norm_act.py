"""Group norm, affine map and SiLU in one step: y = silu(a x̂ + b), x̂ = (x - μ) / sqrt(v + ε) over each group.

`a` and `b` hold gain and bias of the norm and, in adaptive group norm, scale and shift of the embedding. Autograd of
the separate parts keeps the input of each of them; here x̂ alone is kept, and a x̂ + b is computed again in the backward
pass. With δ = dL/d(a x̂ + b) and ⟨·⟩ the mean over a group,

    da = Σ δ x̂,   db = Σ δ,   dx = (a δ - ⟨a δ⟩ - x̂ ⟨a δ x̂⟩) / sqrt(v + ε),

where no large numbers cancel, so that bf16 does little harm. All this is for the CPU, whose convolutions are fastest
where channels lie innermost (`channels_last`): there torch's own backward of group norm takes far longer than all of
this, because it works group by group, and the few channels of a group fill no vector. Other devices get torch's parts.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_SMALL = 1024  # pixels; on fewer, torch's forward of group norm works group by group too


def norm_act(x: Tensor, a: Tensor, b: Tensor, *, groups: int, eps: float = 1e-5, silu: bool = True) -> Tensor:
    """Normalize `x` (B, C, H, W), map it by `a` and `b`, (B, C) or (1, C), and apply SiLU unless told not to."""
    if x.device.type == "cpu":
        out: Tensor = _NormAct.apply(x, a, b, groups, eps, silu)
        return out
    z = torch.addcmul(b[..., None, None], F.group_norm(x, groups, eps=eps), a[..., None, None])
    return F.silu(z) if silu else z


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
        image, scale, a, b = ctx.saved_tensors
        x, delta = _pixels(image), _pixels(dy.contiguous(memory_format=torch.channels_last))
        if ctx.silu:
            delta = torch.ops.aten.silu_backward(delta, _affine(x, a, b))
        da, db = (delta * x).sum(1).to(a.dtype), delta.sum(1).to(a.dtype)  # (B, C); torch sums bf16 in float32
        slope, offset = (-scale * _over_groups(a * d / x.shape[1], ctx.groups) for d in (da, db))
        dx = _affine(x, slope, offset).addcmul_(delta, (scale * a).to(delta.dtype)[:, None])
        return _image(dx, image), da.sum_to_size(a.shape), db.sum_to_size(b.shape), None, None, None


def _normalize(image: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """x̂, and 1 / sqrt(v + ε) of each channel's group, (B, C) in float32 at least."""
    batch, channels, height, width = image.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    if height * width < _SMALL:
        x = _pixels(image).to(dtype)
        x = x - _over_groups(x.mean(1), groups)[:, None]
        scale = (_over_groups(x.square().mean(1), groups) + eps).rsqrt()
        return _image((x * scale[:, None]).to(image.dtype), image), scale
    one, zero = torch.ones(channels, dtype=dtype), torch.zeros(channels, dtype=dtype)  # they make the statistics so
    x, _, scale = torch.native_group_norm(image, one, zero, batch, channels, height * width, groups, eps)
    return x, scale.repeat_interleave(channels // groups, dim=1)


def _over_groups(values: Tensor, groups: int) -> Tensor:
    """Means of groups of channels, (B, C) -> (B, C)."""
    grouped = values.view(len(values), groups, -1)
    return grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1)


def _pixels(image: Tensor) -> Tensor:
    """(B, C, H, W) in channels_last -> (B, H W, C), a view."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _image(pixels: Tensor, like: Tensor) -> Tensor:
    """The way back."""
    batch, channels, height, width = like.shape
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _affine(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a x + b in the precision of `x`."""
    return torch.addcmul(b.to(x.dtype)[:, None], x, a.to(x.dtype)[:, None])
