"""The networks against the published table, the fade between levels, and the projection."""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histosynth.gan.growth import Growth
from histosynth.gan.layers import EqualizedConv, EqualizedLinear, downsample, upsample
from histosynth.gan.progan import Discriminator, Generator, channels_per_level, seeded_latents

# Karras et al. 2018, table 2: output side, channels, parameters as printed; 1024 px, unconditional.
GENERATOR = [
    (4, 512, "4.2M"), (4, 512, "2.4M"), (8, 512, "2.4M"), (8, 512, "2.4M"), (16, 512, "2.4M"), (16, 512, "2.4M"),
    (32, 512, "2.4M"), (32, 512, "2.4M"), (64, 256, "1.2M"), (64, 256, "590k"), (128, 128, "295k"), (128, 128, "148k"),
    (256, 64, "74k"), (256, 64, "37k"), (512, 32, "18k"), (512, 32, "9.2k"), (1024, 16, "4.6k"), (1024, 16, "2.3k"),
]  # fmt: skip
DISCRIMINATOR = [
    (1024, 16, "2.3k"), (1024, 32, "4.6k"), (512, 32, "9.2k"), (512, 64, "18k"), (256, 64, "37k"), (256, 128, "74k"),
    (128, 128, "148k"), (128, 256, "295k"), (64, 256, "590k"), (64, 512, "1.2M"), (32, 512, "2.4M"), (32, 512, "2.4M"),
    (16, 512, "2.4M"), (16, 512, "2.4M"), (8, 512, "2.4M"), (8, 512, "2.4M"), (4, 512, "2.4M"), (1, 512, "4.2M"),
    (1, 1, "513"),
]  # fmt: skip
Network = TypeVar("Network", bound=nn.Module)
FULL = {"labels": 3, "width": 512, "full_width_px": 32}


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def printed(parameters: int) -> str:
    """Format a number as in the table."""
    if parameters >= 1e6:
        return f"{parameters / 1e6:.1f}M"
    if parameters >= 1e4:
        return f"{parameters / 1e3:.0f}k"
    return f"{parameters / 1e3:.1f}k" if parameters >= 1e3 else str(parameters)


def rows(module: nn.Module, run: Callable[[], object], *, skip: nn.Module) -> list[tuple[int, int, int]]:
    """Return side, channels and parameters of each equalized layer, in the order of a forward pass."""
    table: list[tuple[int, int, int]] = []
    skipped = set(skip.modules())

    def record(layer: nn.Module, _: object, output: Tensor) -> None:
        table.append((output.shape[-1] if output.ndim == 4 else 1, output.shape[1], count(layer)))

    for layer in module.modules():
        if isinstance(layer, EqualizedConv | EqualizedLinear) and layer not in skipped:
            layer.register_forward_hook(record)
    run()
    return table


def generator_rows(px: int, level: int) -> tuple[Generator, list[tuple[int, int, int]]]:
    with torch.device("meta"):
        generator, z, label = Generator(image_px=px, latent=512, **FULL), torch.randn(4, 512), torch.zeros(4).int()
        table = rows(generator, lambda: generator(z, label, growth=Growth(level)), skip=generator.to_rgb)
    _, flat, weights = table[0]  # 8192 numbers that are 512 channels of 4 x 4 pixels, with a bias a channel
    return generator, [(4, flat // 16, weights + generator.first_bias.numel()), *table[1:]]


def discriminator_rows(px: int, level: int) -> tuple[Discriminator, list[tuple[int, int, int]]]:
    with torch.device("meta"):
        discriminator, x, label = Discriminator(image_px=px, **FULL), torch.randn(4, 3, px, px), torch.zeros(4).int()
        table = rows(discriminator, lambda: discriminator(x, label, growth=Growth(level)), skip=discriminator.from_rgb)
    return discriminator, table


def test_generator_of_1024_px_equals_the_published_one() -> None:
    generator, table = generator_rows(1024, 8)
    assert [(side, channels, printed(parameters)) for side, channels, parameters in table] == GENERATOR
    last = count(generator.to_rgb[-1])
    assert last == 51
    assert printed(sum(row[2] for row in table) + last) == "23.1M"


def test_discriminator_of_1024_px_equals_the_published_one() -> None:
    discriminator, table = discriminator_rows(1024, 8)
    assert [(side, channels, printed(parameters)) for side, channels, parameters in table] == DISCRIMINATOR
    first = count(discriminator.from_rgb[-1])
    assert first == 64
    assert printed(sum(row[2] for row in table) + first) == "23.1M"


def test_networks_of_128_px_equal_the_rows_up_to_this_side() -> None:
    """The table ends at 1024 px; a network of 128 px has its rows up to that side, and RGB layers of 128 channels.

    4 px: 512 x 8192 + 512 and 512 x 512 x 9 + 512, and so on: 22,926,467 and 22,932,097 parameters. The label adds 8192
    and 512 parameters per label; the RGB layers of the lower levels, used during growth, are additional.
    """
    generator, table = generator_rows(128, 5)
    assert [(side, channels, printed(parameters)) for side, channels, parameters in table] == GENERATOR[:12]
    three = {n: n * 9 for n in (512, 256, 128)}
    convolutions = 7 * (three[512] * 512 + 512) + (three[512] + three[256]) * 256 + 512
    convolutions += (three[256] + three[128]) * 128 + 256
    core = 512 * 8192 + 512 + convolutions + (128 * 3 + 3)
    assert core == sum(row[2] for row in table) + count(generator.to_rgb[-1]) == 22_926_467
    assert count(generator.label) == 3 * 8192
    colors = sum(count(layer) for layer in generator.to_rgb[:-1])
    assert count(generator) == core + colors + 3 * 8192

    discriminator, table = discriminator_rows(128, 5)
    assert [(side, channels, printed(parameters)) for side, channels, parameters in table] == DISCRIMINATOR[6:]
    core = sum(row[2] for row in table) + count(discriminator.from_rgb[-1])
    assert core == 22_932_097
    assert count(discriminator.label) == 3 * 512
    colors = sum(count(layer) for layer in discriminator.from_rgb[:-1])
    assert count(discriminator) == core + colors + 3 * 512


def test_width_scales_every_level() -> None:
    assert channels_per_level(128, width=512, full_width_px=32) == [512, 512, 512, 512, 256, 128]
    assert channels_per_level(64, width=96, full_width_px=8) == [96, 96, 48, 24, 12]


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return randomized(Generator(image_px=32, labels=3, latent=16, width=16, full_width_px=8))


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(1)
    return randomized(Discriminator(image_px=32, labels=3, width=16, full_width_px=8))


def randomized(network: Network) -> Network:
    """Replace zero biases, which could hide a fault, by random ones."""
    for weight in network.parameters():
        if not weight.any():
            nn.init.normal_(weight)
    return network


@pytest.mark.parametrize("level", [1, 2, 3])
def test_new_level_at_alpha_0_equals_the_upsampled_previous_one_exactly(generator: Generator, level: int) -> None:
    z, label = torch.randn(4, 16), torch.tensor([0, 1, 2, 0])
    previous, new = (generator(z, label, growth=growth) for growth in (Growth(level - 1), Growth(level, 0.0)))
    assert torch.equal(new, upsample(previous))
    full = generator(z, label, growth=Growth(level))
    half = generator(z, label, growth=Growth(level, 0.5))
    torch.testing.assert_close(half, (upsample(previous) + full) / 2)
    assert not torch.allclose(full, upsample(previous), atol=0.1)
    assert torch.equal(generator.images(z, label, growth=Growth(level)), upsample(full, 2 ** (3 - level)))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_discriminator_at_alpha_0_equals_that_of_the_downsampled_image(
    discriminator: Discriminator, level: int
) -> None:
    x, label = torch.randn(8, 3, 4 << level, 4 << level), torch.arange(8) % 3
    new = discriminator(x, label, growth=Growth(level, 0.0))
    assert torch.equal(new, discriminator(downsample(x), label, growth=Growth(level - 1)))
    assert not torch.allclose(new, discriminator(x, label, growth=Growth(level)), atol=0.1)


def test_projection_equals_its_formula(discriminator: Discriminator) -> None:
    """D(x, y) = ψ(φ(x)) + ⟨v_y, φ(x)⟩, with both ψ and v equalized by 1/√C."""
    x, label = torch.randn(8, 3, 32, 32), torch.arange(8) % 3
    phi = discriminator.features(x, growth=Growth(3))
    assert phi.shape == (8, 16)
    psi = phi @ discriminator.score.weight[0] / math.sqrt(16) + discriminator.score.bias
    v = discriminator.label.weight / math.sqrt(16)
    expected = torch.stack([psi[i] + torch.dot(v[label[i]], phi[i]) for i in range(8)])
    torch.testing.assert_close(discriminator(x, label, growth=Growth(3)), expected)


def test_label_enters_the_generator_as_a_one_hot_part_of_the_latent(generator: Generator) -> None:
    recorded: list[Tensor] = []
    generator.conv.register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0]))
    z, label = torch.randn(6, 16), torch.arange(6) % 3
    generator(z, label, growth=Growth(0))
    unit = z / z.square().mean(1, keepdim=True).sqrt()
    weight = torch.cat([generator.first.weight, generator.label.weight.T], 1)
    # equalized: 1 / √16 for the latent; the vector of the label has the same length as that of the latent
    scale = torch.cat([torch.full((16,), 1 / 4), torch.ones(3)])
    flat = torch.cat([unit, F.one_hot(label, 3).float()], 1) * scale @ weight.T * math.sqrt(2) / 4
    expected = F.leaky_relu(flat.view(6, 16, 4, 4) + generator.first_bias, 0.2)
    expected = expected / expected.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(recorded[0], expected, rtol=1e-4, atol=1e-5)


def test_images_have_unit_variance_before_training_at_every_level() -> None:
    """Pixel norm and equalized weights ensure this, so that values neither vanish nor explode at any level."""
    torch.manual_seed(0)
    fresh = Generator(image_px=32, labels=3, latent=64, width=64, full_width_px=32)
    for level in range(4):
        x = fresh(torch.randn(64, 64), torch.arange(64) % 3, growth=Growth(level))
        assert x.std().item() == pytest.approx(1, rel=0.35)


def test_every_weight_of_a_full_size_network_has_a_gradient(generator: Generator, discriminator: Discriminator) -> None:
    """During a fade, all weights except the RGB layers of earlier levels have one."""
    z, label, growth = torch.randn(4, 16), torch.tensor([0, 1, 2, 0]), Growth(3, 0.5)
    discriminator(generator(z, label, growth=growth), label, growth=growth).sum().backward()

    def without_gradient(network: nn.Module) -> Iterator[str]:
        yield from (name for name, weight in network.named_parameters() if weight.grad is None)

    expected = {f"{level}.{part}" for level in (0, 1) for part in ("weight", "bias")}
    assert {name.removeprefix("to_rgb.") for name in without_gradient(generator)} == expected
    assert {name.removeprefix("from_rgb.") for name in without_gradient(discriminator)} == expected


def test_latent_depends_only_on_its_seed() -> None:
    assert torch.equal(seeded_latents([5, 7], size=9)[1:], seeded_latents([7], size=9))
    assert seeded_latents(range(400), size=64).std().item() == pytest.approx(1, rel=0.02)
