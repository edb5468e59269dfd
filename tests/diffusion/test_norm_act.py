"""The fused norm and activation against torch's separate operations and against finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histosynth.diffusion import norm_act as module
from histosynth.diffusion.norm_act import norm_act

SIDES = [5, 32]  # the branch for few pixels, and the one for many


def separate(x: Tensor, a: Tensor, b: Tensor, *, groups: int, silu: bool) -> Tensor:
    z = F.group_norm(x, groups) * a[..., None, None] + b[..., None, None]
    return F.silu(z) if silu else z


def draw(side: int, rows: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Draw x with different channel means, gains and offsets, and a gradient."""
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
def test_equals_separate_operations(side: int, rows: int, silu: bool, groups: int) -> None:
    tensors = draw(side, rows)
    fused, expected = (output_and_gradients(f, tensors, groups=groups, silu=silu) for f in (norm_act, separate))
    for f, e in zip(fused, expected, strict=True):
        torch.testing.assert_close(f, e, atol=1e-10, rtol=1e-10)


def test_gradients_equal_finite_differences() -> None:
    x, a, b, _ = draw(3, 3)
    inputs = [value[:2].clone().requires_grad_() for value in (x, a, b)]
    assert torch.autograd.gradcheck(lambda x, a, b: norm_act(x, a, b, groups=8), inputs)


@pytest.mark.parametrize("side", SIDES)
def test_bf16_error_is_no_larger_than_that_of_separate_operations(side: int) -> None:
    tensors = draw(side, 3, torch.float32)
    exact = output_and_gradients(separate, [value.double() for value in tensors], groups=8, silu=True)

    def errors(function, tensors, **options):  # type: ignore[no-untyped-def]
        rounded = output_and_gradients(function, tensors, torch.bfloat16, **options)
        return [((r.double() - e).norm() / e.norm()).item() for r, e in zip(rounded, exact, strict=True)]

    ours = errors(norm_act, tensors, groups=8)
    theirs = errors(separate, [value.bfloat16() for value in tensors], groups=8, silu=True)
    for our_error, their_error in zip(ours, theirs, strict=True):
        assert our_error < max(1.5 * their_error, 2**-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_statistics_of_gpus_equal_those_of_the_formula(dtype: torch.dtype) -> None:
    x = draw(32, 3)[0].contiguous(memory_format=torch.channels_last)
    normalized, scale = module._normalize_on_gpu(x.to(dtype), 8, 1e-5)
    groups = x.to(dtype).double().reshape(3, 8, -1)
    expected_scale = (groups.var(2, correction=0) + 1e-5).rsqrt().repeat_interleave(3, dim=1)
    tolerance = max(torch.finfo(dtype).eps, 1e-10)
    torch.testing.assert_close(
        normalized.double(), F.group_norm(x.to(dtype).double(), 8), atol=4 * tolerance, rtol=tolerance
    )
    torch.testing.assert_close(scale.double(), expected_scale, atol=0, rtol=1e-5 if dtype != torch.float64 else 1e-10)
    assert normalized.dtype == dtype
    assert normalized.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", SIDES)
def test_steps_of_gpus_equal_separate_operations(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(module, "_normalize", module._normalize_on_gpu)
    tensors = draw(side, 3)
    fused, expected = (output_and_gradients(f, tensors, groups=8, silu=True) for f in (norm_act, separate))
    for f, e in zip(fused, expected, strict=True):
        torch.testing.assert_close(f, e, atol=1e-10, rtol=1e-10)
