"""The U-Net: ADM's published sizes, its block structure, and what its parts compute."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from histosynth.diffusion.unet import Attention, ResidualBlock, UNet, sinusoids

# ImageNet models of Dhariwal & Nichol 2021, table 12 (1000 labels, learned variance). Exact counts are those of
# guided-diffusion's UNetModel with the same options; ours has one embedding more, the null label's (4 x channels).
ADM = {
    64: ({"channels": 192, "channel_mult": (1, 2, 3, 4), "blocks": 3, "head_channels": 64}, 295_904_454, 296),
    128: ({"channels": 256, "channel_mult": (1, 1, 2, 3, 4), "blocks": 2, "heads": 4}, 421_529_606, 422),
    256: ({"channels": 256, "channel_mult": (1, 1, 2, 2, 4, 4), "blocks": 2, "head_channels": 64}, 553_838_086, 554),
}


@pytest.mark.parametrize("image_px", ADM)
def test_parameter_counts_are_the_published_ones(image_px: int) -> None:
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
    plain, attended = ["R"], ["R", "A"]
    assert down == [plain] * 6 + [attended] * 2 + [plain] + [attended] * 2 + [plain] + [attended] * 2
    assert [stage[0].scale for stage in network.down] == [1, 1, 0.5, 1, 1, 0.5, 1, 1, 0.5, 1, 1, 0.5, 1, 1]
    assert [stage[-1].scale for stage in network.up if isinstance(stage[-1], ResidualBlock)].count(2.0) == 4
    assert len(network.up) == 15


def tiny(**options: Any) -> UNet:
    torch.manual_seed(0)
    base = {"image_px": 16, "labels": 3, "channels": 32, "channel_mult": (1, 2), "blocks": 1}
    network = UNet(**(base | {"attention_px": (8,), "heads": 2} | options))
    for parameter in network.parameters():  # the zeroed convolutions would hide everything before them
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


def test_output_is_zero_at_the_start_whatever_comes_in() -> None:
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


def test_a_label_beyond_the_null_label_is_an_error() -> None:
    with pytest.raises(IndexError):
        tiny()(torch.zeros(1, 3, 16, 16), torch.zeros(1), torch.tensor([4]))


def test_stem_keeps_the_image_size_and_divides_the_work() -> None:
    with torch.inference_mode():
        out = tiny(stem=2)(torch.randn(2, 3, 16, 16), torch.zeros(2), torch.zeros(2, dtype=torch.long))
    assert out.shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="no multiple"):
        tiny(stem=3)


def test_attention_equals_its_formula_with_guided_diffusion_s_head_order() -> None:
    torch.manual_seed(0)
    block, x = Attention(64, heads=4, head_channels=0), torch.randn(2, 64, 3, 5)
    nn.init.normal_(block.out.weight, std=0.1)
    qkv = block.qkv(block.norm(x)).flatten(2)  # (2, 4 heads x (q, k, v) x 16, 15)
    heads = []
    for head in range(4):
        q, k, v = qkv[:, 48 * head : 48 * (head + 1)].split(16, dim=1)
        weight = torch.softmax(q.transpose(1, 2) @ k / 4, dim=-1)
        heads.append(v @ weight.transpose(1, 2))
    expected = x + block.out(torch.cat(heads, dim=1).unflatten(2, (3, 5)))
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_residual_block_equals_its_formula() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(32, 64, 8, 0.0, scale=0.5, checkpointing=False)
    nn.init.normal_(block.conv2.weight, std=0.1)
    x, embedding = torch.randn(2, 32, 8, 8), torch.randn(2, 8)
    h = block.conv1(F.avg_pool2d(F.silu(block.norm1(x)), 2))
    scale, shift = block.modulation(embedding).chunk(2, dim=1)
    h = block.conv2(F.silu(block.norm2(h) * (1 + scale[..., None, None]) + shift[..., None, None]))
    torch.testing.assert_close(block(x, embedding), block.skip(F.avg_pool2d(x, 2)) + h)


def test_checkpointing_changes_no_gradient() -> None:
    grads = []
    for checkpointing in (False, True):
        network = tiny(checkpointing=checkpointing)
        x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
        network(x, torch.tensor([3.0, 700.0]), torch.tensor([0, 1])).square().mean().backward()
        grads.append([p.grad for p in network.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_sinusoids_are_unit_pairs_of_known_frequency() -> None:
    e = sinusoids(torch.tensor([0.0, 3.0]), 8)
    torch.testing.assert_close(e[:, :4] ** 2 + e[:, 4:] ** 2, torch.ones(2, 4))
    assert e[1, 0].item() == pytest.approx(torch.cos(torch.tensor(3.0)).item())
    assert e[1, 5].item() == pytest.approx(torch.sin(torch.tensor(3.0 / 10)).item())
    assert sinusoids(torch.tensor([1.0]), 7).shape == (1, 7)
