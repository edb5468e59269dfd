"""Weights files: they carry all that sampling needs, and say so when they do not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from histosynth.config import Settings
from histosynth.diffusion.build import build_denoiser
from histosynth.errors import HistosynthError
from histosynth.training.checkpoint import Origin, find_weights, load_denoiser, read_origin, save_weights
from histosynth.training.run import Run


@pytest.fixture
def weights(tmp_path: Path, tiny_settings: Settings) -> Path:
    denoiser = build_denoiser(tiny_settings.model, tiny_settings.diffusion, image_px=8, labels=2)
    origin = Origin(
        settings=tiny_settings, labels=["dark", "light"], image_px=8, mpp=0.5, run="r", images=7, data_hash="abc"
    )
    save_weights(tmp_path / "weights" / "ema-7.safetensors", denoiser.state_dict(), origin)
    return tmp_path / "weights" / "ema-7.safetensors"


def test_a_weights_file_is_self_contained(weights: Path, tiny_settings: Settings) -> None:
    denoiser, origin = load_denoiser(weights)
    assert (origin.settings, origin.labels, origin.mpp, origin.images) == (tiny_settings, ["dark", "light"], 0.5, 7)
    for name, value in load_file(weights).items():
        assert torch.equal(denoiser.state_dict()[name], value)
    assert find_weights(weights.parents[1]) == weights
    assert not list(weights.parent.glob(".*"))


def test_weights_that_do_not_match_their_settings_give_one_line(weights: Path, tmp_path: Path) -> None:
    import safetensors

    with safetensors.safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("conv1.weight"))
    save_file({**tensors, name: tensors[name][:4].clone()}, tmp_path / "cut.safetensors", metadata=metadata)
    with pytest.raises(HistosynthError, match="do not match the settings") as caught:
        load_denoiser(tmp_path / "cut.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100])
def test_a_file_that_is_not_safetensors_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(HistosynthError, match="not a readable safetensors"):
        read_origin(tmp_path / "x.safetensors")


def test_weights_of_another_program_and_a_run_without_weights_are_rejected(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(HistosynthError, match="not written by `histosynth train`"):
        read_origin(tmp_path / "other.safetensors")
    with pytest.raises(HistosynthError, match="has no weights"):
        find_weights(tmp_path)


@pytest.mark.parametrize("run", ["real", "../../out", "a\x1b[2Jb"])
def test_the_name_of_a_run_leads_nowhere_and_is_not_real(weights: Path, tiny_settings: Settings, run: str) -> None:
    save_weights(weights, load_file(weights), replace(read_origin(weights), run=run))
    with pytest.raises(HistosynthError, match=r"the run that .*ema-7\.safetensors names: a generator cannot be called"):
        read_origin(weights)


def test_no_run_is_called_real(tmp_path: Path, tiny_settings: Settings) -> None:
    with pytest.raises(HistosynthError, match=r"--out .*/real: a generator cannot be called 'real'"):
        Run(tmp_path / "real", settings=tiny_settings, facts={}, total=8)
    assert not (tmp_path / "real").exists()
