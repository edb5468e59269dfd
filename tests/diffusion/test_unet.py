"""The U-Net: ADM's published sizes, its block structure, and the computation of its parts."""

import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histosynth.diffusion.unet import Attention, ResidualBlock, UNet, attend, sinusoids, upsampled_conv

# ImageNet models of Dhariwal & Nichol 2021, table 12 (1000 labels, learned variance). Exact counts are those of
# guided-diffusion's UNetModel with the same options; ours has one more embedding, for the null label (4 x channels).
ADM = {
    64: ({"channels": 192, "channel_mult": (1, 2, 3, 4), "blocks": 3, "head_channels": 64}, 295_904_454, 296),
    128: ({"channels": 256, "channel_mult": (1, 1, 2, 3, 4), "blocks": 2, "heads": 4}, 421_529_606, 422),
    256: ({"channels": 256, "channel_mult": (1, 1, 2, 2, 4, 4), "blocks": 2, "head_channels": 64}, 553_838_086, 554),
}


@pytest.mark.parametrize("image_px", ADM)
def test_parameter_counts_equal_the_published_ones(image_px: int) -> None:
    options, exact, millions = ADM[image_px]
    with torch.device("meta"):
        network = UNet(image_px=image_px, labels=1000, out_channels=6, attention_px=(32, 16, 8), **options)
    count = sum(p.numel() for p in network.parameters()) - 4 * options["channels"]
    assert count == exact
    assert round(count / 1e6) == millions


def test_block_structure_of_adm_128() -> None:
    with torch.device("meta"):
        network = UNet(image_px=128, labels=3, channels=256, channel_mult=(1, 1, 2, 3, 4), blocks=2, heads=4)
    down = [[type(block).__name__[0] for block in stage] for stage in network.down]
    residual, attention = ["R"], ["R", "A"]
    assert down == [residual] * 6 + [attention] * 2 + [residual] + [attention] * 2 + [residual] + [attention] * 2
    assert [stage[0].scale for stage in network.down] == [1, 1, 0.5, 1, 1, 0.5, 1, 1, 0.5, 1, 1, 0.5, 1, 1]
    assert [stage[-1].scale for stage in network.up if isinstance(stage[-1], ResidualBlock)].count(2.0) == 4
    assert len(network.up) == 15


def tiny(**options: Any) -> UNet:
    torch.manual_seed(0)
    base = {"image_px": 16, "labels": 3, "channels": 32, "channel_mult": (1, 2), "blocks": 1}
    network = UNet(**(base | {"attention_px": (8,), "heads": 2} | options))
    for parameter in network.parameters():  # zero-initialized convolutions would hide everything before them
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


def test_output_is_zero_before_training() -> None:
    network = UNet(image_px=16, labels=2, channels=32, channel_mult=(1, 2), blocks=1, attention_px=(8,))
    out = network(torch.randn(2, 3, 16, 16), torch.tensor([1.0, 500.0]), torch.tensor([0, 2]))
    assert not out.any()


def test_time_label_and_null_label_each_change_the_output() -> None:
    network, x = tiny(), torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        outs = [
            network(x, torch.tensor([t]), torch.tensor([y])) for t, y in [(10.0, 0), (11.0, 0), (10.0, 1), (10.0, 3)]
        ]
    for other in outs[1:]:
        assert (other - outs[0]).abs().max() > 1e-4


def test_label_beyond_the_null_label_is_an_error() -> None:
    with pytest.raises(IndexError):
        tiny()(torch.zeros(1, 3, 16, 16), torch.zeros(1), torch.tensor([4]))


def test_stem_preserves_the_image_size() -> None:
    with torch.inference_mode():
        out = tiny(stem=2)(torch.randn(2, 3, 16, 16), torch.zeros(2), torch.zeros(2, dtype=torch.long))
    assert out.shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="not a multiple"):
        tiny(stem=3)


def test_attention_equals_its_formula_with_the_head_order_of_guided_diffusion() -> None:
    torch.manual_seed(0)
    block, x = Attention(64, heads=4, head_channels=0), torch.randn(2, 64, 3, 5)
    nn.init.normal_(block.out.weight, std=0.1)
    qkv = block.qkv(F.group_norm(x, 32, block.norm.weight, block.norm.bias)).flatten(2)
    heads = []
    for head in range(4):  # each has 16 channels of q, then of k, then of v
        q, k, v = qkv[:, 48 * head : 48 * (head + 1)].split(16, dim=1)
        weight = torch.softmax(q.transpose(1, 2) @ k / 4, dim=-1)
        heads.append(v @ weight.transpose(1, 2))
    expected = x + block.out(torch.cat(heads, dim=1).unflatten(2, (3, 5)))
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", [16, 256, 400])
def test_attention_in_bf16_approximates_fp32(positions: int) -> None:
    q, k, v = torch.randn(3, 2, 4, positions, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    torch.testing.assert_close(attend(q, k, v).float(), expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_residual_block_equals_its_formula(scale: float) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(32, 64, 8, 0.0, scale=scale, checkpointing=False)
    nn.init.normal_(block.conv2.weight, std=0.1)
    for module in (block.norm1, block.norm2):
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
    x, embedding = torch.randn(2, 32, 8, 8), torch.randn(2, 8)

    def resized(x: Tensor) -> Tensor:
        return {0.5: F.avg_pool2d(x, 2), 1.0: x, 2.0: x.repeat_interleave(2, 2).repeat_interleave(2, 3)}[scale]

    h = F.silu(F.group_norm(x, 32, block.norm1.weight, block.norm1.bias))
    h = F.group_norm(block.conv1(resized(h)), 32, block.norm2.weight, block.norm2.bias)
    scaled, shift = block.modulation(embedding).chunk(2, dim=1)
    h = block.conv2(F.silu(h * (1 + scaled[..., None, None]) + shift[..., None, None]))
    expected = block.skip(resized(x)) + h
    torch.testing.assert_close(block(x, embedding), expected, atol=1e-5, rtol=1e-5)


def test_fused_upsampling_and_convolution_is_exact() -> None:
    conv = nn.Conv2d(5, 7, 3, padding=1, dtype=torch.float64)
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    separate = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    fused = upsampled_conv(x, conv)
    torch.testing.assert_close(fused, separate)
    dy = torch.randn_like(separate)
    inputs = (x, conv.weight, conv.bias)
    for a, b in zip(torch.autograd.grad(fused, inputs, dy), torch.autograd.grad(separate, inputs, dy), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("image_px", "channel_mult"), [(32, (1, 2, 3)), (64, (1, 1, 2))])
def test_output_and_gradients_equal_those_of_guided_diffusion(
    image_px: int, channel_mult: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if (clone := os.environ.get("HISTOSYNTH_GUIDED_DIFFUSION")) is None:
        pytest.skip("HISTOSYNTH_GUIDED_DIFFUSION does not name a clone of guided-diffusion")
    monkeypatch.syspath_prepend(clone)
    from guided_diffusion.unet import UNetModel

    # Both networks with equal weights
    torch.manual_seed(0)
    theirs = UNetModel(
        image_size=image_px,
        in_channels=3,
        model_channels=32,
        out_channels=6,
        num_res_blocks=1,
        attention_resolutions=(2, 4),
        channel_mult=channel_mult,
        num_classes=4,
        num_heads=4,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    ours = UNet(
        image_px=image_px,
        labels=3,
        channels=32,
        channel_mult=channel_mult,
        blocks=1,
        attention_px=(image_px // 2, image_px // 4),
        heads=4,
        out_channels=6,
    )
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    with torch.no_grad():
        for a, b in pairs:
            if b.ndim == 1 or not b.any():  # gains, biases, zero-initialized convolutions
                b.add_(torch.randn_like(b), alpha=0.1)
            a.copy_(b.reshape(a.shape))
    # Outputs and gradients
    x, t, y = torch.randn(3, 3, image_px, image_px), torch.tensor([0.0, 31.0, 999.0]), torch.tensor([0, 2, 3])
    outs = [network(x, t, y) for network in (ours, theirs)]
    for out in outs:
        (out * x.repeat(1, 2, 1, 1)).mean().backward()
    torch.testing.assert_close(*outs, atol=1e-5 * outs[1].abs().max().item(), rtol=0)
    largest = max(b.grad.abs().max().item() for _, b in pairs)  # some are zero up to rounding
    for a, b in pairs:
        torch.testing.assert_close(a.grad, b.grad.reshape(a.shape), atol=1e-5 * largest, rtol=0)


def test_checkpointing_does_not_change_gradients() -> None:
    grads = []
    for checkpointing in (False, True):
        network = tiny(checkpointing=checkpointing)
        x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
        network(x, torch.tensor([3.0, 700.0]), torch.tensor([0, 1])).square().mean().backward()
        grads.append([p.grad for p in network.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_checkpointing_works_under_autocast() -> None:
    network, grads = tiny(checkpointing=True), []
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    for checkpointing in (False, True):
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module.checkpointing = checkpointing
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = network(x, torch.tensor([3.0, 700.0]), torch.tensor([0, 1])).float().square().mean()
        grads.append(torch.autograd.grad(loss, list(network.parameters())))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_sinusoids_are_cosine_and_sine_pairs_of_known_frequency() -> None:
    e = sinusoids(torch.tensor([0.0, 3.0]), 8)
    torch.testing.assert_close(e[:, :4] ** 2 + e[:, 4:] ** 2, torch.ones(2, 4))
    assert e[1, 0].item() == pytest.approx(torch.cos(torch.tensor(3.0)).item())
    assert e[1, 5].item() == pytest.approx(torch.sin(torch.tensor(3.0 / 10)).item())
    assert sinusoids(torch.tensor([1.0]), 7).shape == (1, 7)
