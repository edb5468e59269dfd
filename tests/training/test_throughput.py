"""TFLOP/s and the share of a GPU's peak: closed forms, names of cards, the log and `watch`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.training import loop
from histosynth.training.loop import train
from histosynth.training.progress import progress_text, read_progress
from histosynth.training.throughput import Throughput, peak_tflops, training_flop

CUDA = torch.device("cuda", 0)


def test_values_are_per_gpu() -> None:
    throughput = Throughput(flop_per_image=2e12, gpus=4, peak_tflops=250.0)
    assert throughput.values(100.0) == {"tflops": 50.0, "share_of_peak": 0.2}
    assert Throughput(flop_per_image=2e12, gpus=1, peak_tflops=None).values(3.0) == {"tflops": 6.0}


def test_training_takes_three_passes() -> None:
    """The forward pass is counted by PyTorch's own counter, on real tensors; it does not know fused attention."""
    sizes = ["model.channels=32", "model.channel_mult=[1]", "model.attention_px=[]", "diffusion.mixture=0"]
    settings = load_settings(None, overrides=[*sizes, "model.blocks=1"])
    denoiser = build_denoiser(settings.model, settings.diffusion, image_px=16, labels=2)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        denoiser.evaluate(torch.zeros(1, 3, 16, 16), torch.ones(1), torch.zeros(1, dtype=torch.long))
    assert training_flop(denoiser, image_px=16) == 3 * counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", None),  # another card than the A10
        ("Tesla V100-SXM2-32GB", 125),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("AMD Instinct MI300X", None),
    ],
)
def test_cards_are_known_by_name(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_tflops(CUDA, precision="bf16") == peak
    assert peak_tflops(CUDA, precision="no") is None
    assert peak_tflops(torch.device("cpu"), precision="bf16") is None


def test_log_and_watch_show_them(
    monkeypatch: pytest.MonkeyPatch, make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path
) -> None:
    """Pretend that the process trains on a GPU, where alone they are logged."""
    run, store = tmp_path / "run", make_store()
    train(store, out=run, settings=tiny_settings, device="cpu", progress=False)
    plain = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert "tflops" not in plain[-1]
    assert "TFLOP" not in progress_text(read_progress(run))
    known = Throughput(flop_per_image=1e12, gpus=2, peak_tflops=1000.0)
    monkeypatch.setattr(loop, "_throughput", lambda task: known)
    train(store, out=tmp_path / "gpu", settings=tiny_settings, device="cpu", progress=False)
    last = json.loads((tmp_path / "gpu" / "stats.jsonl").read_text().splitlines()[-1])
    assert last["tflops"] == pytest.approx(last["images_per_second"] / 2, abs=0.01)
    assert last["share_of_peak"] == pytest.approx(last["tflops"] / 1000, abs=1e-4)
    assert f"{last['tflops']:.1f} TFLOP/s per GPU (" in progress_text(read_progress(tmp_path / "gpu"))
