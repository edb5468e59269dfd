"""The cost of a network: operations and memory, without running it."""

import pytest
import torch
from torch import nn

from histosynth.config import load_settings
from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule
from histosynth.training.network_cost import Cost, evaluation_on_meta, measure, on_meta


def test_cost_is_that_of_the_operations() -> None:
    def chain() -> None:
        x = torch.empty(100, 50, device="meta")  # 20,000 bytes
        y = x @ torch.empty(50, 200, device="meta")  # 40,000 and 80,000 bytes
        del x
        z = y.relu()  # 80,000 bytes, when only y is alive
        z.view(200, 100).add_(1)  # in place

    assert measure(chain) == Cost(flop=2 * 100 * 50 * 200, memory=160_000)


@pytest.mark.parametrize("overrides", [["edm"], ["flow"], ["ddpm"], ["edm", "diffusion.mixture=2"]])
def test_networks_are_measured_without_memory(overrides: list[str]) -> None:
    process, *others = overrides
    model = ["model.channels=32", "model.channel_mult=[1,2]", "model.attention_px=[8]", "model.heads=2"]
    settings = load_settings(None, overrides=[*model, f"diffusion.process={process}", *others])
    denoiser = build_denoiser(settings.model, settings.diffusion, image_px=16, labels=3)
    schedule = build_schedule(settings.diffusion)
    classifier = build_classifier(settings.model, schedule, image_px=16, labels=3)
    alone = evaluation_on_meta(denoiser, image_px=16)
    one, two = measure(lambda: alone(2)), measure(lambda: alone(4))
    assert one.flop > 0
    assert two.flop == pytest.approx(2 * one.flop, rel=0.01)
    assert one.memory < two.memory <= 2 * one.memory
    guided = evaluation_on_meta(denoiser, image_px=16, classifier=classifier)
    assert measure(lambda: guided(2)).flop > 1.2 * one.flop
    assert {each.device.type for each in on_meta(denoiser).parameters()} == {"meta"}
    assert {each.device.type for each in denoiser.parameters()} == {"cpu"}


def test_a_copy_on_meta_takes_other_values_from_the_module() -> None:
    module = nn.BatchNorm1d(3).eval()
    module.eps = 0.5
    copy = on_meta(module)
    assert copy.eps == 0.5
    assert not copy.training
    assert copy(torch.empty(2, 3, device="meta")).shape == (2, 3)
