"""Sampling: an image depends only on its seed; stores are resumed, extended and marked as synthetic."""

import errno
import hashlib
import json
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from histosynth.config import SampleSettings
from histosynth.errors import HistosynthError
from histosynth.rundir import exclusive_lock
from histosynth.sampling import generate as module
from histosynth.sampling.generate import SamplingResult, generate, training_settings
from histosynth.sampling.generative_model import DiffusionModel
from histosynth.store.part import Patch
from histosynth.store.store import Store

MakeRun = Callable[..., Path]
QUICK = SampleSettings(sampler="heun", steps=3)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16 seeds, so that a small store has more than one part."""
    monkeypatch.setattr("histosynth.sampling.generate._BLOCK", 16)


def sample(run: Path, out: Path, settings: SampleSettings = QUICK, **options: Any) -> SamplingResult:
    return generate(run, out=out, settings=settings, device="cpu", progress=False, **options)


def images(store: Path) -> dict[str, bytes]:
    opened = Store(store)
    pixels = opened.images(range(len(opened)))
    return {name: image.tobytes() for name, image in zip(opened.column("patch_id"), pixels, strict=True)}


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "heun"])
@pytest.mark.parametrize("process", ["ddpm", "edm", "flow"])
def test_the_same_seed_gives_the_same_bytes_for_any_batch_size(
    make_run: MakeRun, tmp_path: Path, sampler: str, process: str
) -> None:
    learned = ("diffusion.variance=learned", "diffusion.prediction=v", "diffusion.zero_terminal_snr=true")
    run = make_run(process=process, overrides=learned if process == "ddpm" else ())
    generated, eta = [], 0.5 if sampler == "ddim" else 0.0
    for batch in (1, 5, 64):
        settings = SampleSettings(sampler=sampler, steps=3, eta=eta, batch=batch)
        sample(run, tmp_path / f"b{batch}", settings, per_label=4)
        generated.append(images(tmp_path / f"b{batch}"))
    assert generated[0] == generated[1] == generated[2]
    assert len(set(generated[0].values())) == 12


def test_an_image_does_not_depend_on_the_other_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    sample(run, tmp_path / "all", per_label=6)
    sample(run, tmp_path / "later", per_label=2, seed=9)
    sample(run, tmp_path / "one", per_label=6, labels=["b"])
    everything = images(tmp_path / "all")
    later, one = images(tmp_path / "later"), images(tmp_path / "one")
    assert list(later) == [f"run_{seed}" for seed in range(9, 15)]
    assert list(one) == [f"run_{seed}" for seed in range(1, 18, 3)]
    assert {**everything, **later, **one} == everything


def test_images_are_encoded_while_the_next_batch_is_generated(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both batches belong to one part, which is written at the end."""
    first_is_encoded, calls = Event(), []
    encode, generate_images = module.encode_row, DiffusionModel.images

    def encode_row(patch: Patch) -> dict[str, Any]:
        row = encode(patch)
        if patch.patch_id == "run_7":
            first_is_encoded.set()
        return row

    def images_after_encoding(self: DiffusionModel, seeds: Any, label: Any) -> Any:
        calls.append(list(seeds))
        assert len(calls) == 1 or first_is_encoded.wait(60)
        return generate_images(self, seeds, label)

    monkeypatch.setattr(module, "encode_row", encode_row)
    monkeypatch.setattr(DiffusionModel, "images", images_after_encoding)
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    sample(make_run(), tmp_path / "out", SampleSettings(steps=1, batch=8), per_label=5)
    assert calls == [list(range(8)), list(range(8, 15))]


def test_batches_continue_across_parts(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    generate_images = DiffusionModel.images

    def count(self: DiffusionModel, seeds: Any, label: Any) -> Any:
        sizes.append(len(seeds))
        return generate_images(self, seeds, label)

    monkeypatch.setattr(DiffusionModel, "images", count)
    run = make_run()
    sample(run, tmp_path / "one", SampleSettings(steps=1), labels=["b"], per_label=20)  # in parts of 5 and 6
    assert sizes == [20]
    sample(run, tmp_path / "all", SampleSettings(steps=1), per_label=20)
    assert sizes == [20, 32, 28]
    everything = images(tmp_path / "all")
    assert {**everything, **images(tmp_path / "one")} == everything


def test_a_full_disk_ends_the_command_and_keeps_finished_parts(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, run = module.write_rows, make_run()

    def write_one(path: Path, *rows: Any, **options: Any) -> None:
        if list(path.parent.glob("*.parquet")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_rows", write_one)
        before = threading.active_count()
        with pytest.raises(OSError, match="No space left"):
            sample(run, tmp_path / "full", SampleSettings(steps=1, batch=8), per_label=16)
        assert threading.active_count() == before
    assert sample(run, tmp_path / "full", SampleSettings(steps=1), per_label=16).generated == 48 - 16
    sample(run, tmp_path / "at once", SampleSettings(steps=1), per_label=16)
    assert {p.name: p.read_bytes() for p in (tmp_path / "full").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "at once").iterdir()
    }


def test_labels_are_balanced_and_the_store_is_marked_synthetic(make_run: MakeRun, tmp_path: Path) -> None:
    result = sample(make_run(), tmp_path / "out", per_label=5)
    store = Store(tmp_path / "out")
    assert (result.images, result.generated) == (15, 15)
    assert {label: store.column("label").count(label) for label in store.labels} == {"a": 5, "b": 5, "c": 5}
    assert set(store.column("source")) == {"run"}
    assert set(store.column("slide_id")) == set(store.column("patient_id")) == set(store.column("split")) == {None}
    assert set(store.column("mpp")) == {1.0}
    assert store.manifest["synthetic"] is True
    with Image.open(result.sheet) as sheet:
        assert "SYNTHETIC" in sheet.info["Description"]


def test_a_repeated_call_generates_nothing_and_a_larger_one_adds_images(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    sample(run, out, per_label=6)
    before = images(out)
    assert sample(run, out, per_label=6).generated == 0
    assert sample(run, out, per_label=8).generated == 24 - 18
    after = images(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == 24


def test_a_smaller_call_removes_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    sample(run, out, per_label=6, labels=["a"])
    assert sample(run, out, per_label=6, labels=["b"]).labels == ["a", "b"]
    assert sample(run, out, per_label=2, labels=["b"]).images == 12
    sample(run, out, per_label=6)
    sample(run, tmp_path / "at once", per_label=6)
    assert images(out) == images(tmp_path / "at once")


def test_an_interrupted_store_is_completed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    sample(run, tmp_path / "uninterrupted", per_label=6)
    sample(run, tmp_path / "torn", per_label=6)
    (tmp_path / "torn" / "manifest.json").unlink()
    max((tmp_path / "torn").glob("*.parquet")).unlink()
    assert sample(run, tmp_path / "torn", per_label=6).generated == 18 - 16
    assert {p.name: p.read_bytes() for p in (tmp_path / "torn").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "uninterrupted").iterdir()
    }


def test_guidance_and_label_change_the_image_of_a_seed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for name, guidance in (("plain", 1.0), ("guided", 3.0), ("unconditional", 0.0)):
        sample(run, tmp_path / name, SampleSettings(sampler="heun", steps=3, guidance=guidance), per_label=1)
    generated = [images(tmp_path / name) for name in ("plain", "guided", "unconditional")]
    assert generated[0] != generated[1]
    assert generated[0] != generated[2]


def test_mistakes_are_rejected_and_leave_no_files(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(process="ddpm"), tmp_path / "out"
    for options, settings, message in (
        ({"labels": ["d"]}, QUICK, "knows no label 'd'; it was trained on a, b, c"),
        ({}, SampleSettings(sampler="dimd", steps=3), "unknown sampler 'dimd' .did you mean 'ddim'"),
        ({}, SampleSettings(steps=41), "sample.steps: 41 steps requested, but the schedule has 40"),
        ({}, SampleSettings(sampler="heun", steps=3, eta=0.1), "sample.eta = 0.1: the sampler heun has no eta"),
        ({}, SampleSettings(steps=3, guidance_low=2, guidance_high=1), "is not below sample.guidance_high = 1.0"),
        ({}, SampleSettings(steps=3, classifier=str(run)), "holds a denoiser, not a classifier"),
        ({}, SampleSettings(steps=3, classifier="nowhere"), "nowhere has no weights"),
    ):
        with pytest.raises(HistosynthError, match=message):
            sample(run, out, settings, **options)
        assert not out.exists()


def test_samples_of_other_settings_are_rejected(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    sample(run, out, per_label=1)
    with pytest.raises(HistosynthError, match="made with steps = 3, not 4"):
        sample(run, out, SampleSettings(sampler="heun", steps=4), per_label=1)
    (out / "manifest.json").unlink()
    with pytest.raises(HistosynthError, match="unfinished samples of another model or of other settings"):
        sample(run, out, SampleSettings(sampler="heun", steps=4), per_label=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(HistosynthError, match="is not a patch store and not empty"):
        sample(run, tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_defaults_are_the_training_settings(make_run: MakeRun) -> None:
    assert training_settings(make_run()).sample.steps == 3


def test_the_manifest_records_how_the_samples_were_made(make_run: MakeRun, tmp_path: Path) -> None:
    sample(make_run(), tmp_path / "out", per_label=2)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["made_with"]["sampler"] == "heun"
    assert manifest["made_with"]["data_hash"] == "abc"
    assert manifest["train_split"] == "train"
    (weights,) = (tmp_path / "run" / "weights").iterdir()
    assert manifest["made_with"]["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_two_commands_cannot_write_one_store(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "samples"
    with exclusive_lock(out), pytest.raises(HistosynthError, match="samples is being written by another command"):
        sample(run, out, per_label=1)
    sample(run, out, per_label=1)
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("process", ["ddpm", "edm", "flow"])
def test_classifier_guidance_does_not_depend_on_the_batch_size(
    make_run: MakeRun, make_classifier: MakeRun, tmp_path: Path, process: str
) -> None:
    run, classifier = make_run(process=process), make_classifier(process=process)
    generated = {}
    for name, batch, scale in (("one", 1, 5.0), ("many", 64, 5.0), ("stronger", 64, 50.0), ("none", 64, None)):
        guide = {} if scale is None else {"classifier": str(classifier), "classifier_scale": scale}
        sample(run, tmp_path / name, SampleSettings(steps=4, batch=batch, **guide), per_label=2)
        generated[name] = images(tmp_path / name)
    assert generated["one"] == generated["many"]
    assert generated["many"] != generated["stronger"]
    assert generated["many"] != generated["none"]
    (weights,) = (classifier / "weights").iterdir()
    made_with = json.loads((tmp_path / "many" / "manifest.json").read_text())["made_with"]
    assert made_with["classifier_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert made_with["classifier_scale"] == 5.0


def test_a_classifier_of_another_process_is_rejected(
    make_run: MakeRun, make_classifier: MakeRun, tmp_path: Path
) -> None:
    edm, ddpm = make_run("edm"), make_run("ddpm", process="ddpm")
    matching = make_classifier("matching", process="ddpm")
    cosine = make_classifier("cosine", process="ddpm", overrides=("diffusion.schedule=cosine",))
    two = make_classifier("two", labels=("a", "b"))
    other_loss = make_run("other loss", process="ddpm", overrides=("diffusion.weighting=uniform",))
    for run, classifier, message in (
        (edm, matching, r"does not match the denoiser of run 'edm': its diffusion.process is ddpm, not edm"),
        (ddpm, cosine, r"its diffusion.schedule is cosine, not linear"),
        (edm, two, r"its labels is \['a', 'b'\], not \['a', 'b', 'c'\]"),
    ):
        with pytest.raises(HistosynthError, match=message):
            sample(run, tmp_path / "out", SampleSettings(steps=3, classifier=str(classifier)))
        assert not (tmp_path / "out").exists()
    with pytest.raises(HistosynthError, match="holds a classifier, which generates no images"):
        sample(matching, tmp_path / "out")
    settings = SampleSettings(steps=3, classifier=str(matching))
    assert sample(other_loss, tmp_path / "out", settings, per_label=1).images == 3  # the loss is not the process


def test_the_number_of_network_evaluations_is_reported(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for name, settings, cost in (
        ("plain", SampleSettings(steps=4), 4),
        ("heun", SampleSettings(sampler="heun", steps=4), 7),
        ("guided", SampleSettings(steps=4, guidance=2), 8),
    ):
        assert sample(run, tmp_path / name, settings, per_label=1).evaluations == cost
        assert json.loads((tmp_path / name / "manifest.json").read_text())["evaluations"] == cost


def test_every_image_carries_how_it_was_made(make_run: MakeRun, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    sample(run, out, per_label=2)
    sample(run, out, per_label=3)  # into the same part
    sample(run, tmp_path / "unmarked", per_label=3, mark=False)
    (weights,) = (run / "weights").iterdir()
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    for row in Store(out).table.select(["patch_id", "label", "image"]).to_pylist():
        with Image.open(BytesIO(row["image"]["bytes"])) as image:
            assert image.info["Description"].startswith("SYNTHETIC")
            assert (image.info["Source"], image.info["Weights"]) == ("run", digest)
            assert (image.info["Seed"], image.info["Label"]) == (row["patch_id"].split("_")[1], row["label"])
            assert image.info["Sampler"] == "heun, 3 steps, guidance 1.0"
    for row in Store(tmp_path / "unmarked").table.select(["image"]).to_pylist():
        with Image.open(BytesIO(row["image"]["bytes"])) as image:
            assert not {"Description", "Seed", "Label"} & set(image.info)
    assert images(out) == images(tmp_path / "unmarked")
    with pytest.raises(HistosynthError, match="made with marked = True, not False"):
        sample(run, out, per_label=3, mark=False)
