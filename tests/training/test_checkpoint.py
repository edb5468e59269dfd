"""Weights files: they carry all that sampling needs, and say so when they do not."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from histosynth.config import Settings, load_settings
from histosynth.diffusion.build import build_denoiser
from histosynth.diffusion.denoiser import Denoiser
from histosynth.errors import HistosynthError
from histosynth.training.checkpoint import find_weights, load_denoiser, save_weights
from histosynth.training.origin import Origin, read_origin
from histosynth.training.run import Run
from limits import attempt, bounded
from mutations import Mutations


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


@pytest.mark.parametrize("run", ["real", "../../out", "/etc/r", "", "a\\b", "a\nb", "a\x1b[2Jb"])
def test_the_name_of_a_run_leads_nowhere_and_is_not_real(weights: Path, tiny_settings: Settings, run: str) -> None:
    save_weights(weights, load_file(weights), read_origin(weights).model_copy(update={"run": run}))
    with pytest.raises(HistosynthError, match=r"the run that .*ema-7\.safetensors names: a generator cannot be called"):
        read_origin(weights)


def test_no_run_is_called_real(tmp_path: Path, tiny_settings: Settings) -> None:
    with pytest.raises(HistosynthError, match=r"--out .*/real: a generator cannot be called 'real'"):
        Run(tmp_path / "real", settings=tiny_settings, facts={}, total=8)
    assert not (tmp_path / "real").exists()


SAVE = """
import sys; from pathlib import Path; import torch
from histosynth.config import load_settings
from histosynth.training.checkpoint import save_weights
from histosynth.training.origin import Origin
origin = Origin(
    settings=load_settings("demo"), labels=["b", "ä"], image_px=8, mpp=0.5, run="r", images=7, data_hash="abc"
)
for n in range(3):
    save_weights(Path(sys.argv[1]) / f"{n}", {"b": torch.zeros(2), "a": torch.ones(3)}, origin)
"""


def test_equal_trainings_write_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / "other process")], env=environment, check=True)
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "this process")])
    exec(SAVE, {})
    assert len({path.read_bytes() for path in tmp_path.glob("*/*")}) == 1
    assert len(list(tmp_path.glob("*/*"))) == 6


def test_weights_of_an_earlier_version_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "old.safetensors", metadata={"histosynth.kind": "denoiser"})
    with pytest.raises(HistosynthError, match="written by an earlier version of histosynth; train the model again"):
        read_origin(tmp_path / "old.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(weights: Path, value: float) -> None:
    origin, tensors = read_origin(weights), load_file(weights)
    name = next(iter(tensors))
    tensors[name].view(-1)[-1] = value
    save_weights(weights, tensors, origin)
    with pytest.raises(HistosynthError, match="is not finite, as after a diverged training"):
        load_denoiser(weights)


def test_a_network_that_is_not_in_the_file_takes_no_memory(weights: Path) -> None:
    origin = read_origin(weights)
    settings = load_settings(origin.settings, overrides=["model.channels=8192", "model.channel_mult=[64,64,64]"])
    save_weights(weights, load_file(weights), origin.model_copy(update={"settings": settings}))
    with pytest.raises(HistosynthError, match="do not match the settings in the file"), bounded("a large network"):
        load_denoiser(weights)


def test_damaged_weights_give_one_line_or_load(weights: Path, tmp_path: Path) -> None:
    """Half of the mutations are within the header, whose text has most of the structure."""
    data = weights.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    damaged = tmp_path / "damaged.safetensors"
    outcomes: Counter[str] = Counter()
    for copies in (
        Mutations(data, count=250),
        (data[:8] + part + data[header:] for part in Mutations(data[8:header], count=125)),
        (
            (len(part) + pad(part)).to_bytes(8, "little") + part + b" " * pad(part) + data[header:]
            for part in Mutations(data[8:header], count=250)
        ),
    ):
        for copy in copies:
            damaged.write_bytes(copy)
            refused = attempt(lambda: require_finite(load_denoiser(damaged)[0]))
            outcomes["refused" if refused else "loaded"] += 1
    assert outcomes.total() == 625
    assert min(outcomes["refused"], outcomes["loaded"]) > 10


def require_finite(denoiser: Denoiser) -> None:
    assert all(value.isfinite().all() for value in denoiser.state_dict().values())


def pad(header: bytes) -> int:
    return -len(header) % 8
