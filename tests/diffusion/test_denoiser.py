"""The common denoiser interface: input checks, precision, guidance, and construction from settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histosynth.config import DiffusionSettings, ModelSettings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.edm import EDMDenoiser
from histosynth.diffusion.flow import FlowDenoiser
from histosynth.diffusion.guidance import guided_denoiser
from histosynth.diffusion.schedule import RectifiedFlow, VarianceExploding, cosine
from histosynth.errors import HistosynthError

MODEL = ModelSettings(channels=8, channel_mult=(1, 2), blocks=1, attention_px=(4,), heads=2)
PROCESSES: dict[str, dict[str, Any]] = {
    "epsilon": {"process": "ddpm"},
    "x0": {"process": "ddpm", "prediction": "x0", "weighting": "min_snr"},
    "v": {
        "process": "ddpm",
        "prediction": "v",
        "zero_terminal_snr": True,
        "weighting": "uniform",
        "schedule": "cosine",
    },
    "learned": {"process": "ddpm", "variance": "learned"},
    "edm": {"process": "edm"},
    "flow": {"process": "flow"},
}


def build(name: str) -> Denoiser:
    torch.manual_seed(0)
    denoiser = build_denoiser(MODEL, DiffusionSettings(**PROCESSES[name]), image_px=8, labels=3)
    for parameter in denoiser.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return denoiser


def noisiest_time(denoiser: Denoiser) -> Tensor:
    return denoiser.schedule.times(10)[:1]


@pytest.mark.parametrize("name", PROCESSES)
def test_invalid_shapes_times_and_labels_are_reported(name: str) -> None:
    denoiser, x, label = build(name), torch.zeros(2, 3, 8, 8), torch.tensor([0, 3])
    t = noisiest_time(denoiser).expand(2)
    calls = [denoiser.predict, lambda x, t, label: denoiser.loss_at(x, label, t=t, noise=x)]
    assert denoiser(x, t, label).shape == x.shape  # 3 is the null label
    for call in calls:
        with pytest.raises(ValueError, match=r"label 4 is out of range: 0 to 2, or 3 for any label"):
            call(x, t, torch.tensor([0, 4]))
        with pytest.raises(ValueError, match="label -1"):
            call(x, t, torch.tensor([0, -1]))
        for wrong in (
            -1.0,
            float("nan"),
            *({"edm": [0.0, float("inf")], "flow": [1.01]}.get(name, [0.0, 1001.0, 1.5])),
        ):
            with pytest.raises(ValueError, match=r"time .* is out of range"):
                call(x, torch.tensor([t[0].item(), wrong]), label)
        for shape in [(2, 1, 8, 8), (2, 3, 16, 16), (2, 3, 8, 4), (3, 8, 8)]:
            with pytest.raises(ValueError, match=r"expected \(B, 3, 8, 8\)"):
                call(torch.zeros(shape), t, label)
        with pytest.raises(ValueError, match="one time and one label per image"):
            call(x, t[:1], label)
        with pytest.raises(ValueError, match="one time and one label per image"):
            call(x, t, label[:1])
        with pytest.raises(ValueError, match="bfloat16"):
            call(x, t.bfloat16(), label)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", PROCESSES)
def test_under_autocast_only_the_network_is_rounded(name: str, half: torch.dtype) -> None:
    """With the network's rounded output in float64, the same formulas give the same loss and the same image."""
    denoiser, label = build(name), torch.tensor([0, 1, 3])
    x0, noise = torch.rand(3, 3, 8, 8) * 2 - 1, torch.randn(3, 3, 8, 8)
    t = denoiser.draw_times(3, generator=torch.Generator().manual_seed(0))
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: object, output: Tensor) -> None:
        outputs.append(output.detach())

    hook = denoiser.network.register_forward_hook(record)
    with torch.autocast("cpu", dtype=half):
        loss = denoiser.loss_at(x0, label, t=t, noise=noise)
        x = (
            denoiser.schedule.alpha(t)[:, None, None, None] * x0
            + denoiser.schedule.sigma(t)[:, None, None, None] * noise
        )
        clean = denoiser(x, t, label)
        loss_of_half = denoiser.loss_at(x0.to(half), label, t=t, noise=noise).weighted
    hook.remove()
    assert outputs[0].dtype == half
    assert loss.weighted.dtype == loss.unweighted.dtype == clean.dtype == loss_of_half.dtype == torch.float32
    replayed = iter(outputs)
    denoiser.network.forward = lambda *_: next(replayed).double()  # type: ignore[method-assign]
    exact = denoiser.loss_at(x0.double(), label, t=t.double(), noise=noise.double())
    torch.testing.assert_close(loss.weighted.double(), exact.weighted, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(clean.double(), denoiser(x.double(), t.double(), label), rtol=1e-5, atol=1e-5)


def test_values_beyond_half_precision_do_not_overflow(constant_network: Callable[[Tensor], Any]) -> None:
    """At the end of the cosine schedule the noise is divided by 5e-5; 60,000 is nearly the largest float16."""
    schedule, x, label = cosine(1000), torch.ones(1, 3, 2, 2), torch.zeros(1)
    t = torch.tensor([1000.0])
    denoiser = DiscreteDenoiser(constant_network(torch.full((1, 3, 2, 2), 6e4, dtype=torch.float16)), schedule)
    expected = (1 - 6e4) / schedule.alpha_bars[-1].sqrt().item()
    with torch.autocast("cpu", dtype=torch.float16):
        assert denoiser(x.half(), t, label)[0, 0, 0, 0].item() == pytest.approx(expected, rel=1e-5)
        assert denoiser.loss_at(x, label, t=t, noise=x).unweighted.item() == pytest.approx((1 - 6e4) ** 2, rel=1e-5)
    make = {
        "edm": partial(EDMDenoiser, schedule=VarianceExploding()),
        "flow": partial(FlowDenoiser, schedule=RectifiedFlow()),
    }
    for name, denoiser in ((n, m(constant_network(torch.full((1, 3, 2, 2), 6e4).half()))) for n, m in make.items()):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = denoiser.loss_at(x.half(), label, t=torch.tensor([0.9]), noise=x)
        assert loss.weighted.isfinite().all(), name


def test_guidance_combines_label_and_null_label() -> None:
    class Labels(nn.Module):
        null_label = 3

        def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
            return label[:, None, None, None].double().expand_as(x) / 10

    denoiser = EDMDenoiser(Labels(), VarianceExploding(), sigma_data=1.0)
    x, t, label = torch.zeros(2, 3, 2, 2).double(), torch.tensor(1.0).double(), torch.tensor([0, 1])
    out = 2**-0.5  # c_out at σ = σ_data = 1
    for w in (0.0, 1.0, 2.5):
        expected = out * (0.3 + w * (label / 10 - 0.3)).clamp(-1 / out, 1 / out)
        clean = guided_denoiser(denoiser, label, guidance=w)(x, t).clean
        torch.testing.assert_close(clean[:, 0, 0, 0], expected.double())
    assert guided_denoiser(denoiser, label, guidance=30.0)(x, t).clean.abs().max() <= 1


def test_settings_that_do_not_fit_the_patches_are_reported() -> None:
    with pytest.raises(HistosynthError, match="not a multiple of stem 3"):
        build_denoiser(ModelSettings(stem=3), DiffusionSettings(), image_px=64, labels=2)
    with pytest.raises(HistosynthError, match="attention heads"):
        build_denoiser(ModelSettings(channels=30), DiffusionSettings(), image_px=64, labels=2)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_predicting_the_noise_without_terminal_signal_is_an_error(schedule: Any) -> None:
    def build(**options: Any) -> Denoiser:
        settings = DiffusionSettings(**{"process": "ddpm"} | options, schedule=schedule, zero_terminal_snr=True)
        return build_denoiser(MODEL, settings, image_px=8, labels=2)

    with pytest.raises(HistosynthError, match=r"diffusion.zero_terminal_snr .*set diffusion.prediction=v or x0"):
        build()
    for prediction in ("v", "x0"):
        denoiser = build(prediction=prediction)
        t = torch.tensor([1000.0])
        assert (denoiser.schedule.alpha(t).item(), denoiser.schedule.sigma(t).item()) == (0, 1)
        assert denoiser(torch.randn(1, 3, 8, 8), t, torch.tensor([0])).isfinite().all()


def test_settings_reach_the_denoiser() -> None:
    def build(**options: Any) -> Any:
        return build_denoiser(MODEL, DiffusionSettings(**{"process": "ddpm"} | options), image_px=8, labels=2)

    snr = torch.tensor([0.5, 20.0])
    assert build(p2_k=2.0, p2_gamma=1.0).weighting(snr, "epsilon").tolist() == pytest.approx([1 / 2.5, 1 / 22])
    assert build(weighting="min_snr", min_snr_gamma=3.0).weighting(snr, "x0").tolist() == [0.5, 3.0]
    assert build(weighting="uniform").weighting(snr, "v").tolist() == [1, 1]
    learned, large = build(variance="learned"), build(variance="large")
    x, t, label = torch.zeros(1, 3, 8, 8), torch.tensor([7.0]), torch.tensor([0])
    assert learned.predict(x, t, label).variance_fraction.unique().tolist() == [0.5]  # before training: halfway
    assert large.predict(x, t, label).variance_fraction.unique().tolist() == [1]
    assert build().predict(x, t, label).variance_fraction is None
    assert build(process="flow", flow_time="uniform").times == "uniform"
