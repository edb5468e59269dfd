"""Muon: it is torch's where torch has one, and AdamW for the rest."""

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import DiffusionSettings, ModelSettings, load_settings
from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule
from histosynth.training.muon import Muon, build_optimizer, orthogonal
from histosynth.training.task import remaining_rate


def newton_schulz(x: Tensor) -> Tensor:
    """The iteration of Jordan et al. 2024 as it is written, in float64."""
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.T).T
    x = x.double() / x.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def with_spectrum(rows: int, columns: int, values: Tensor) -> Tensor:
    u, v = (torch.linalg.qr(torch.randn(n, len(values)).double())[0] for n in (rows, columns))
    return u @ torch.diag(values.double()) @ v.T


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (24, 24), (1, 9)])
def test_steps_are_those_of_newton_and_schulz_and_nearly_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.stack([with_spectrum(*shape, torch.linspace(0.05, 1, min(shape))) for _ in range(3)])
    made = orthogonal(1e-3 * matrices.float())
    torch.testing.assert_close(made.double(), torch.stack([newton_schulz(one) for one in matrices]), atol=1e-4, rtol=0)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_a_matrix_of_less_than_full_rank_is_no_error() -> None:
    torch.manual_seed(0)
    low = with_spectrum(12, 30, torch.tensor([1.0, 0.5]))
    made = orthogonal(torch.stack([low, torch.zeros_like(low)]).float())
    torch.testing.assert_close(made[0].double(), newton_schulz(low), atol=1e-3, rtol=0)
    assert not made[1].any()


def stepped(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], *, steps: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


def weights_of(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_matrices_are_those_of_torch() -> None:
    """To the bf16 of torch's Newton-Schulz: steps here are 0.2 √16 · 0.1 large."""
    shapes = [(8, 16), (8, 16), (16, 4)]
    ours, theirs = weights_of(*shapes), weights_of(*shapes)
    made = stepped(Muon(ours, [], lr=0.1, weight_decay=0.2), ours)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for one, other in zip(made, stepped(reference, theirs), strict=True):
        torch.testing.assert_close(one, other, atol=5e-3, rtol=0)


def test_a_kernel_is_a_matrix_of_output_and_all_else_however_it_lies_in_memory() -> None:
    kernel, matrix = weights_of((6, 4, 3, 3), (6, 36))
    with torch.no_grad():
        matrix.copy_(kernel.flatten(1))
    last = nn.Parameter(kernel.detach().clone(memory_format=torch.channels_last))
    gradient = torch.randn(kernel.shape)
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    last.grad = gradient.contiguous(memory_format=torch.channels_last)
    for weight in (kernel, matrix, last):
        Muon([weight], [], lr=0.1).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)
    torch.testing.assert_close(kernel, last)


def test_the_others_are_adamws_to_the_bit() -> None:
    shapes = [(5, 4), (7,)]
    matrices, ours, theirs = weights_of((4, 4)), weights_of(*shapes), weights_of(*shapes)
    optimizer = Muon(matrices, ours, lr=0.01, weight_decay=0.1)
    matrices[0].grad = torch.ones(4, 4)
    made = stepped(optimizer, ours)
    for one, other in zip(made, stepped(torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1), theirs), strict=True):
        assert torch.equal(one, other)


def test_a_step_whose_gradient_overflows_in_fp16_is_skipped() -> None:
    matrix, other = weights_of((4, 8), (4,))
    before = [weight.detach().clone() for weight in (matrix, other)]
    optimizer, scaler = Muon([matrix], [other], lr=0.1, fused=True), torch.amp.GradScaler("cpu")
    for overflow in (True, False):
        scaler.scale((matrix.sum() + other.sum()) * (float("inf") if overflow else 1.0)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        for weight, old in zip((matrix, other), before, strict=True):
            assert torch.equal(weight, old) == overflow
            assert weight.isfinite().all()


def test_a_state_continues_where_it_was_saved() -> None:
    shapes = [(4, 3, 3, 3), (4, 8), (4,)]
    whole, parts = weights_of(*shapes), weights_of(*shapes)

    def optimizer(weights: list[nn.Parameter]) -> Muon:
        return Muon(weights[:2], weights[2:], lr=0.1)

    expected = stepped(optimizer(whole), whole, steps=2)
    first = optimizer(parts)
    generator = torch.Generator().manual_seed(1)
    for step in range(2):
        for weight in parts:
            weight.grad = torch.randn(weight.shape, generator=generator)
        used = optimizer(parts) if step else first
        if step:
            used.load_state_dict(first.state_dict())
        used.step()
    for one, other in zip(parts, expected, strict=True):
        assert torch.equal(one, other)


MODEL = ModelSettings(channels=8, channel_mult=(1, 2), blocks=1, attention_px=(4,), heads=2)


def test_the_first_and_last_layer_embeddings_and_vectors_are_adamws() -> None:
    train = load_settings(None, overrides=["train.optimizer=muon"]).train
    denoiser = build_denoiser(MODEL, DiffusionSettings(), image_px=8, labels=2)
    classifier = build_classifier(MODEL, build_schedule(DiffusionSettings()), image_px=8, labels=2)
    for model in (denoiser, classifier):
        optimizer = build_optimizer(model, train, fused=False)
        assert isinstance(optimizer, Muon)
        names = {id(weight): name.removeprefix("network.") for name, weight in model.named_parameters()}
        matrices, others = ({names[id(w)] for w in group["params"]} for group in optimizer.param_groups)
        assert len(matrices) + len(others) == len(names)
        inside = ("down.", "middle.", "up.")
        assert {name for name in names.values() if name.startswith(inside) and name.endswith(".weight")} >= matrices
        assert {"down.0.0.conv1.weight", "down.0.0.modulation.weight", "middle.1.qkv.weight"} <= matrices
        assert {"input.weight", "time_embed.0.weight", "down.0.0.norm1.weight", "down.0.0.conv1.bias"} <= others
        assert not {"label_embed.weight", "output.weight", "output.2.weight"} & matrices


@pytest.mark.parametrize(("seen", "share"), [(0, 1.0), (40, 1.0), (70, 0.5), (97, 0.05), (100, 0.0)])
def test_the_learning_rate_is_constant_and_falls_in_a_straight_line(seen: int, share: float) -> None:
    assert remaining_rate("linear", done=seen / 100) == pytest.approx(share)
    assert remaining_rate("none", done=seen / 100) == 1
