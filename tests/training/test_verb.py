"""`histosynth train` and `sample` on the command line: a mistake gives one line, exit code 2, no partial file."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from histosynth.cli import main
from histosynth.config import Settings

MakeStore = Callable[..., Path]
FITS = ["--set", "model.channel_mult=[1]"]  # a network for 8-px patches


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "absent", "--out", "run"], "absent is not a patch store"),
        (["train", "{store}", "--out", "run", "--set", "train.imagse=3"], "did you mean 'images'?"),
        (["train", "{store}", "--out", "run", "--set", "model.stem=3"], "do not fit 8-px patches"),
        (["train", "{store}", "--out", "run", "--config", "dmeo"], "did you mean 'demo'?"),
        (["train", "{store}", "--out", "{store}/manifest.json", *FITS], "is a file; pass a directory"),
        (["train", "{store}", "--out", "{store}", *FITS], "is not a run"),
        (["sample", "{store}", "--out", "samples"], "has no weights"),
        (["sample", "absent.safetensors", "--out", "samples"], "has no weights"),
    ],
)
def test_a_mistake_gives_one_line(
    words: list[str],
    message: str,
    make_store: MakeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = make_store()
    before = sorted(store.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["histosynth", *(word.format(store=store) for word in words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert error.startswith("histosynth: error: ")
    assert message in error
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "samples").exists()
    assert sorted(store.iterdir()) == before


def test_a_full_disk_gives_one_line_and_the_run_can_resume(
    make_store: MakeStore, tiny_settings: Settings, tmp_path: Path
) -> None:
    """A limit on the file size replaces the full disk: no checkpoint fits."""
    config, run = tmp_path / "tiny.toml", tmp_path / "run"
    config.write_text(tiny_settings.to_toml())
    words = ["train", str(make_store()), "--out", str(run), "--config", str(config), "--device", "cpu", "--quiet"]
    command = [sys.executable, "-m", "histosynth", *words]
    limit = 60_000  # bytes; a checkpoint of the tiny network is larger

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    full = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stdout) == (2, "")
    *warnings, error = full.stderr.splitlines()
    assert [line.split(" could")[0] for line in warnings] == [
        f"histosynth: warning: the {what} images"
        for what in ("early weights after 24", "checkpoint after 32", "checkpoint after 64")
    ]
    assert "the checkpoint after 96 images could not be written (File too large)" in error
    assert "fix this and rerun the command" in error
    assert not [p for p in run.rglob("*") if p.name.startswith(".") or p.suffix in (".pt", ".safetensors")]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "trained on 96 images" in again.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "lihgt"], "knows no label 'lihgt'; it was trained on dark, light"),
        (["--steps", "0"], "Invalid value for '--steps'"),
        (["--steps", "5000"], "5000 steps requested, but the schedule has 1000 timesteps"),
        (["--eta", "0.5"], "sample.eta = 0.5: the sampler dpmpp_2m has no eta"),
        (["--sampler", "ddim", "--eta", "1.5"], "Invalid value for '--eta'"),
        (["--sampler", "huen"], "unknown sampler 'huen' (did you mean 'heun'?)"),
        (["--set", "sample.guidance_low=3", "--set", "sample.guidance_high=2"], "is not below sample.guidance_high"),
        (["--set", "sample.guidance_low=1e9"], "none of the 2 steps has a noise level"),
        (["--set", "sample.clip=dynamc"], "input should be 'clamp', 'dynamic' or 'none'"),
        (["--classifier", "{run}"], "holds a denoiser, not a classifier"),
        (["--classifier", "elsewhere"], "elsewhere has no weights"),
    ],
)
def test_a_mistake_in_sampling_gives_one_line(
    words: list[str],
    message: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [word.format(run=trained) for word in words]
    command = ["histosynth", "sample", str(trained), "--out", "samples", "--device", "cpu", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "samples").exists()


@pytest.fixture
def trained(tmp_path: Path, tiny_settings: Settings) -> Path:
    """A run with initial weights."""
    from histosynth.diffusion.build import build_denoiser
    from histosynth.training.checkpoint import save_weights
    from histosynth.training.origin import Origin

    denoiser = build_denoiser(tiny_settings.model, tiny_settings.diffusion, image_px=8, labels=2)
    origin = Origin(
        settings=tiny_settings, labels=["dark", "light"], image_px=8, mpp=1.0, run="run", images=8, data_hash="abc"
    )
    save_weights(tmp_path / "run" / "weights" / "ema-8.safetensors", denoiser.state_dict(), origin)
    return tmp_path / "run"
