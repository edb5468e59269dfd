"""`--deterministic`: what it sets, and that no operation of ours lacks a deterministic algorithm on a GPU."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from histosynth.cli import main
from histosynth.config import Settings, load_settings
from histosynth.sampling.edit import EditOptions, inpaint, interpolate, translate
from histosynth.sampling.generate import generate, training_settings
from histosynth.sampling.sources import Selection
from histosynth.training.loop import train

RAISING = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_ctc_loss_backward", "_embedding_bag",
    "_upsample_bicubic2d_aa_backward", "_upsample_bilinear2d_aa_backward", "adaptive_max_pool2d_backward",
    "avg_pool3d_backward", "bincount", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "kthvalue", "max_unpool2d", "max_unpool3d",
    "median", "nll_loss2d_forward", "nll_loss_forward", "put", "put_", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "reflection_pad3d_backward", "scatter_reduce", "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward", "upsample_linear1d_backward", "upsample_trilinear3d_backward",
}  # fmt: skip
"""Operations that raise an error on CUDA after `torch.use_deterministic_algorithms(True)`, by the documentation of that
function in PyTorch 2.6 (the oldest version allowed) to 2.14, except `resize_` of quantized tensors."""


class Operations(TorchDispatchMode):
    """Collects the names of all operations, those of backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the settings of PyTorch after the test."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    cudnn.deterministic, cudnn.benchmark = before


@pytest.mark.slow
def test_no_operation_lacks_a_deterministic_algorithm_on_a_gpu(
    make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path
) -> None:
    """Training of each task, sampling with each kind of guidance, and edits, on a CPU."""
    store = make_store()

    def trained(name: str, *overrides: str, base: Settings | None = tiny_settings) -> Path:
        settings = load_settings(base, overrides=["train.images=24", "train.batch=8", *overrides])
        return train(store, out=tmp_path / name, settings=settings, device="cpu", progress=False).run

    def sample(run: Path, name: str, *overrides: str) -> None:
        settings = load_settings(training_settings(run), overrides=overrides).sample
        generate(run, out=tmp_path / name, settings=settings, per_label=2, device="cpu", progress=False)

    with Operations() as used:
        small = ["diffusion.process=edm", "diffusion.mixture=2", "train.optimizer=muon", "model.dropout=0.1"]
        small += ["train.stain_jitter=0.1"]
        denoiser, classifier = trained("denoiser"), trained("classifier", "train.task=classifier")
        runs = [denoiser, trained("small", *small), trained("flow", "diffusion.process=flow")]
        for loss in ("wgan_gp", "r1"):
            gan = ["model.kind=progan", "gan.latent=8", "gan.width=8", "gan.stable_images=8", "gan.fade_images=16"]
            runs.append(trained(loss, f"gan.loss={loss}", *gan, base=None))
        for run in runs:
            sample(run, f"of {run.name}")
        guidance = ["sample.guidance=2", "sample.autoguidance=1.5", f"sample.classifier={json.dumps(str(classifier))}"]
        sample(denoiser, "guided", *guidance, "sample.clip=dynamic")
        options = EditOptions(steps=2, device="cpu", progress=False)
        two = Selection(paths=[store], patches=("S0_0", "S1_0"))
        for name, edit in (("translate", translate), ("interpolate", interpolate), ("inpaint", inpaint)):
            edit(denoiser, two, out=tmp_path / name, options=options)  # type: ignore[operator]
    assert {"convolution_backward", "avg_pool2d_backward", "upsample_nearest2d_backward"} <= used.names
    assert used.names & RAISING == set()


@pytest.mark.usefixtures("restored")
def test_the_option_sets_everything_before_cuda_starts_and_changes_nothing_on_a_cpu(
    make_store: Callable[..., Path],
    tiny_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    same_weights: Callable[[Path, Path], bool],
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(tiny_settings.to_toml())
    words = ["histosynth", "train", str(make_store()), "--config", str(config), "--device", "cpu", "--quiet"]
    for name, option in (("usual", []), ("deterministic", ["--deterministic"])):
        monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / name), *option])
        main()
        on = bool(option)
        assert torch.are_deterministic_algorithms_enabled() == on
        assert torch.backends.cudnn.deterministic == on
        assert torch.backends.cudnn.benchmark == (not on)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (":4096:8" if on else "")
    assert same_weights(tmp_path / "usual", tmp_path / "deterministic")
