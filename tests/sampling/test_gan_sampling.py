"""Samples of a GAN: an image depends only on its seed, and settings that do not apply to a GAN are rejected."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from histosynth.cli import main
from histosynth.config import SampleSettings, load_settings
from histosynth.errors import HistosynthError
from histosynth.gan.build import build_generator
from histosynth.gan.growth import Growth
from histosynth.gan.progan import seeded_latents
from histosynth.sampling.generate import generate
from histosynth.store.store import Store
from histosynth.training.checkpoint import load_generator, save_weights
from histosynth.training.data.dataset import to_bytes
from histosynth.training.origin import Origin

MakeRun = Callable[..., Path]


@pytest.fixture
def make_gan(tmp_path: Path) -> MakeRun:
    """Make a run of 16 px and the labels a, b, c, after `images` images: 4 px until 10, 8 from 20 on, 16 from 40 on."""

    def make(images: int = 40) -> Path:
        overrides = ["model.kind=progan", "gan.latent=8", "gan.width=8", "gan.stable_images=10", "gan.fade_images=10"]
        settings = load_settings(None, overrides=overrides)
        torch.manual_seed(0)
        generator = build_generator(settings.gan, image_px=16, labels=3)
        origin = Origin(
            settings=settings, labels=["a", "b", "c"], image_px=16, mpp=1.0, run="gan", images=images, data_hash="abc"
        )
        save_weights(tmp_path / "gan" / "weights" / f"ema-{images}.safetensors", generator.state_dict(), origin)
        return tmp_path / "gan"

    return make


def images(store: Path) -> dict[str, bytes]:
    opened = Store(store)
    pixels = opened.images(range(len(opened)))
    return {name: image.tobytes() for name, image in zip(opened.column("patch_id"), pixels, strict=True)}


def sample(
    run: Path, out: Path, *, batch: int = 16, per_label: int = 4, seed: int = 0, labels: tuple[str, ...] = ()
) -> Path:
    return generate(
        run, out=out, settings=SampleSettings(batch=batch), per_label=per_label, seed=seed, labels=labels,
        device="cpu", progress=False,
    ).store  # fmt: skip


def test_an_image_depends_only_on_its_seed(make_gan: MakeRun, tmp_path: Path) -> None:
    run = make_gan()
    generated = [images(sample(run, tmp_path / f"b{batch}", batch=batch)) for batch in (1, 5, 64)]
    assert generated[0] == generated[1] == generated[2]
    assert len(set(generated[0].values())) == 12
    for name, image in images(sample(run, tmp_path / "later", per_label=2, seed=5)).items():
        assert generated[0].get(name, image) == image
    some = images(sample(run, tmp_path / "b", labels=("b",)))
    assert some == {name: image for name, image in generated[0].items() if name.endswith(("_1", "_4", "_7", "_10"))}


def test_an_image_is_the_output_of_the_generator_for_its_seed_and_label(make_gan: MakeRun, tmp_path: Path) -> None:
    run = make_gan()
    store = Store(sample(run, tmp_path / "out"))
    generator, origin = load_generator(next((run / "weights").iterdir()))
    assert origin.images == 40
    with torch.inference_mode():
        expected = generator(seeded_latents(range(12), size=8), torch.arange(12) % 3, growth=Growth(2))
    order = np.argsort([int(name.rpartition("_")[2]) for name in store.column("patch_id")])
    stored = store.images(order)
    assert np.abs(stored.astype(int) - to_bytes(expected)).max() <= 1
    assert [store.column("label")[row] for row in order] == ["a", "b", "c"] * 4


def test_the_store_is_marked_synthetic_and_records_how_it_was_made(make_gan: MakeRun, tmp_path: Path) -> None:
    store = Store(sample(make_gan(), tmp_path / "out"))
    assert store.manifest["synthetic"] is True
    assert store.manifest["evaluations"] == 1
    made_with = store.manifest["made_with"]
    assert (made_with["model"], made_with["grown_px"], made_with["images_seen"]) == ("progan", 16, 40)
    assert set(store.column("source")) == {"gan"}
    png = store.table.slice(0, 1).to_pylist()[0]["image"]["bytes"]
    assert b"progan, one pass at 16 px" in png
    assert b"SYNTHETIC" in png


@pytest.mark.parametrize(("seen", "px"), [(5, 4), (20, 8), (39, 16)])
def test_a_run_below_full_growth_generates_full_size_images_of_enlarged_pixels(
    make_gan: MakeRun, tmp_path: Path, seen: int, px: int
) -> None:
    store = Store(sample(make_gan(seen), tmp_path / "out"))
    assert store.patch_px == 16
    assert store.manifest["made_with"]["grown_px"] == px
    if px < 16:
        pixels, factor = store.images(range(12)), 16 // px
        corners = pixels[:, ::factor, ::factor]
        assert (pixels == corners.repeat(factor, axis=1).repeat(factor, axis=2)).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "{run}", "--sampler", "ddim"], "model.kind 'progan' does not use sample.sampler = ddim"),
        (["sample", "{run}", "--steps", "7"], "does not use sample.steps = 7"),
        (["sample", "{run}", "--guidance", "2"], "does not use sample.guidance = 2.0"),
        (["sample", "{run}", "--classifier", "{run}"], "does not use sample.classifier"),
        (["sample", "{run}", "--config", "demo"], "generates images in one pass: sample.s"),
        (["sample", "{run}", "--label", "d"], "knows no label 'd'; it was trained on a, b, c"),
        (["translate", "{run}", "{store}"], "holds a progan, which cannot edit patches"),
        (["interpolate", "{run}", "{store}"], "holds a progan, which cannot edit patches"),
        (["inpaint", "{run}", "{store}"], "holds a progan, which cannot edit patches"),
    ],
)
def test_settings_that_do_not_apply_to_a_gan_are_rejected_in_one_line(
    words: list[str],
    message: str,
    make_gan: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "store").mkdir()
    arguments = [word.format(run=make_gan(), store=tmp_path / "store") for word in words]
    monkeypatch.setattr(sys, "argv", ["histosynth", *arguments, "--out", str(tmp_path / "out"), "--device", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_gan_cannot_guide_a_denoiser(make_gan: MakeRun, make_run: MakeRun, tmp_path: Path) -> None:
    settings = SampleSettings(steps=3, classifier=str(make_gan()))
    with pytest.raises(HistosynthError, match="holds a generator, not a classifier"):
        generate(make_run(), out=tmp_path / "out", settings=settings, device="cpu", progress=False)
