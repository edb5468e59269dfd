"""The norm and activation in one step, against torch's parts and against finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histosynth.diffusion.norm_act import norm_act

SIDES = [5, 32]  # the way for few pixels, and that for many


def parts(x: Tensor, a: Tensor, b: Tensor, *, groups: int, silu: bool) -> Tensor:
    z = F.group_norm(x, groups) * a[..., None, None] + b[..., None, None]
    return F.silu(z) if silu else z


def draw(side: int, rows: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """x whose channels have means of their own, gains and offsets, and a gradient."""
    g = torch.Generator().manual_seed(side)
    x = torch.randn(3, 24, side, side, generator=g, dtype=torch.float64) + 2 * torch.randn(24, 1, 1, generator=g)
    a, b = torch.randn(2, rows, 24, generator=g, dtype=torch.float64)
    dy = torch.randn(x.shape, generator=g, dtype=torch.float64)
    return [value.to(dtype) for value in (x, a, b, dy)]


def output_and_gradients(function, tensors, dtype=torch.float64, **options):  # type: ignore[no-untyped-def]
    x, a, b, dy = tensors
    x = x.to(dtype).requires_grad_()
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    y = function(x, a, b, **options)
    return [y, *torch.autograd.grad(y, (x, a, b), dy.to(dtype))]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("groups", [1, 8, 24])
def test_equals_torch_s_parts(side: int, rows: int, silu: bool, groups: int) -> None:
    tensors = draw(side, rows)
    found, expected = (output_and_gradients(f, tensors, groups=groups, silu=silu) for f in (norm_act, parts))
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, atol=1e-10, rtol=1e-10)


def test_gradients_are_those_of_finite_differences() -> None:
    x, a, b, _ = draw(3, 3)
    inputs = [value[:2].clone().requires_grad_() for value in (x, a, b)]
    assert torch.autograd.gradcheck(lambda x, a, b: norm_act(x, a, b, groups=8), inputs)


@pytest.mark.parametrize("side", SIDES)
def test_bf16_loses_no_more_than_torch_s_parts_do(side: int) -> None:
    tensors = draw(side, 3, torch.float32)
    exact = output_and_gradients(parts, [value.double() for value in tensors], groups=8, silu=True)

    def errors(function, tensors, **options):  # type: ignore[no-untyped-def]
        found = output_and_gradients(function, tensors, torch.bfloat16, **options)
        return [((f.double() - e).norm() / e.norm()).item() for f, e in zip(found, exact, strict=True)]

    ours = errors(norm_act, tensors, groups=8)
    torch_s = errors(parts, [value.bfloat16() for value in tensors], groups=8, silu=True)
    for mine, others in zip(ours, torch_s, strict=True):
        assert mine < max(1.5 * others, 2**-8)
