"""The layers of both networks against their formulas."""

import math

import pytest
import torch
from torch import nn

from histosynth.gan.layers import EqualizedConv, EqualizedLinear, downsample, minibatch_stddev, pixel_norm, upsample


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
@pytest.mark.parametrize("fan_in", [16, 64, 500])
def test_equalized_layers_have_weights_of_unit_variance_and_outputs_of_squared_gain(gain: float, fan_in: int) -> None:
    torch.manual_seed(0)
    linear, conv = EqualizedLinear(fan_in, 400, gain=gain), EqualizedConv(fan_in, 400, 3, gain=gain)
    for layer in (linear, conv):
        assert layer.weight.std().item() == pytest.approx(1, rel=0.05)
        assert layer.bias is not None
        assert not layer.bias.any()
    assert linear(torch.randn(500, fan_in)).var().item() == pytest.approx(gain**2, rel=0.1)
    inside = conv(torch.randn(8, fan_in, 10, 10))[:, :, 1:-1, 1:-1]
    assert inside.var().item() == pytest.approx(gain**2, rel=0.1)


def test_he_scaling_preserves_the_mean_square_through_rectified_layers() -> None:
    """He et al. 2015: with gain √2 before a rectifier, values neither vanish nor explode in ten layers."""
    torch.manual_seed(0)
    x = torch.randn(500, 256)
    for _ in range(10):
        x = torch.relu(EqualizedLinear(256, 256)(x))
    assert x.square().mean().item() == pytest.approx(1, rel=0.4)


def test_step_of_adam_on_an_equalized_layer_is_the_learning_rate() -> None:
    """For a layer of any size, a step of Adam changes its weights of unit variance by the learning rate."""
    torch.manual_seed(0)
    layer = EqualizedLinear(50, 1, bias=False)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.0, 0.99))
    layer(torch.randn(8, 50)).sum().backward()
    optimizer.step()
    torch.testing.assert_close((layer.weight - before).abs(), torch.full((1, 50), 0.01), rtol=1e-3, atol=1e-6)


def test_convolution_equals_that_of_torch_with_scaled_weights() -> None:
    torch.manual_seed(0)
    ours, theirs = EqualizedConv(5, 7, 3), nn.Conv2d(5, 7, 3, padding=1)
    theirs.weight.data = ours.weight.data * math.sqrt(2) / math.sqrt(45)
    theirs.bias.data = ours.bias.data  # type: ignore[union-attr]
    x = torch.randn(2, 5, 6, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_pixel_norm_gives_unit_mean_square_and_preserves_the_direction() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 16, 4, 4) * 7
    normed = pixel_norm(x)
    torch.testing.assert_close(normed.square().mean(1), torch.ones(3, 4, 4), rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(normed, x, dim=1), torch.ones(3, 4, 4))


def test_minibatch_standard_deviation_by_hand() -> None:
    """Two channels of one pixel; the first group of four has deviations 0 and √5, the other is constant."""
    first = torch.tensor([[1.0, 1.0], [1.0, 3.0], [1.0, 5.0], [1.0, 7.0]])
    x = torch.cat([first, torch.ones(4, 2)]).view(8, 2, 1, 1)
    output = minibatch_stddev(x)
    assert torch.equal(output[:, :2], x)
    assert output.shape == (8, 3, 1, 1)
    expected = [math.sqrt(5) / 2] * 4 + [0.0] * 4
    assert output[:, 2].flatten().tolist() == pytest.approx(expected, abs=1.1e-4)  # √1e-8 under the root


def test_groups_are_independent() -> None:
    x = torch.randn(12, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    separate = torch.cat([minibatch_stddev(part) for part in x.split(4)])
    assert torch.equal(minibatch_stddev(x), separate)
    assert len(set(separate[:, 5, 0, 0].tolist())) == 3


def test_downsampling_inverts_upsampling() -> None:
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(downsample(upsample(x, 4), 4), x)
    assert torch.equal(upsample(x)[:, :, 1, 2], x[:, :, 0, 1])
    torch.testing.assert_close(downsample(x)[:, :, 0, 1], x[:, :, :2, 2:].mean((2, 3)))
