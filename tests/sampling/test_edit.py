"""Edits of real patches: their pixels, the record of their sources, and resuming."""

import json
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from histosynth.cli import histosynth
from histosynth.errors import HistosynthError
from histosynth.sampling.edit import EditOptions, inpaint, interpolate, translate
from histosynth.sampling.mask import central_square, read_mask
from histosynth.sampling.sources import Selection
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import is_synthetic
from histosynth.store.store import Store, write_manifest
from histosynth.training.data.dataset import PatchDataset

MakeRun = Callable[..., Path]
QUICK = EditOptions(steps=4, device="cpu", progress=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six real patches of smooth random color, two per label; the second of each label is held out."""
    rng = np.random.default_rng(0)
    patches = []
    for i, label in enumerate("aabbcc"):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC))
        split = "held_out" if i % 2 else "train"
        patches.append(
            Patch(patch_id=f"S{i}_0_0", image=image, source="real", label=label, slide_id=f"S{i}", patient_id=f"P{i}",
                  x=0, y=0, extent=16, mpp=1.0, tissue=1.0, split=split)
        )  # fmt: skip
    directory = tmp_path / "store"
    directory.mkdir()
    write_part(part_path(directory, "S"), patches, fingerprint="x")
    write_manifest(directory, {})
    return directory


def images(path: Path) -> dict[str, NDArray[np.uint8]]:
    opened = Store(path)
    return dict(zip(opened.column("patch_id"), opened.images(range(len(opened))), strict=True))


def everything(store: Path, **options: Any) -> Selection:
    return Selection(paths=[store], split=None, **options)


def test_translating_a_patch_into_its_own_label_reconstructs_it(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    """Inversion and regeneration follow one curve, so errors are near rounding. Another label changes the patch."""
    run, before = make_run(), images(store)
    options = EditOptions(steps=60, device="cpu", progress=False)
    translate(run, everything(store, patches=["S0_0_0"]), out=tmp_path / "out", to=["a", "b"], options=options)
    after = images(tmp_path / "out")
    same, other = (np.abs(after[f"run_S0_0_0_to_{label}"].astype(int) - before["S0_0_0"]).max() for label in ("a", "b"))
    assert same <= 2
    assert other > 10


@pytest.mark.parametrize("process", ["edm", "ddpm"])
def test_an_edit_depends_only_on_its_source(make_run: MakeRun, store: Path, tmp_path: Path, process: str) -> None:
    run = make_run(process=process)
    translate(run, everything(store), out=tmp_path / "all", options=QUICK)
    one = EditOptions(steps=4, device="cpu", progress=False, batch=1)
    translate(run, everything(store, patches=["S3_0_0"]), out=tmp_path / "one", options=one)
    alone = images(tmp_path / "one")
    assert sorted(alone) == ["run_S3_0_0_to_a", "run_S3_0_0_to_c"]
    for name, image in images(tmp_path / "all").items():
        if name in alone:
            assert np.array_equal(image, alone[name])


def test_the_store_is_marked_synthetic_and_records_the_sources(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    result = translate(make_run(), everything(store), out=tmp_path / "out", options=QUICK)
    opened = Store(tmp_path / "out")
    assert (result.images, result.generated, len(opened)) == (12, 12, 12)
    assert set(opened.column("source")) == {"run"}
    assert set(opened.column("patient_id")) == set(opened.column("slide_id")) == {None}
    manifest = opened.manifest
    assert manifest["synthetic"] is True
    assert manifest["edits"]["run_S3_0_0_to_a"]["from"] == ["S3_0_0"]
    assert manifest["sources"]["S3_0_0"]["patient_id"] == "P3"
    assert manifest["sources"]["S3_0_0"]["label"] == "b"
    assert len(manifest["made_with"]["weights_sha256"]) == 64
    with Image.open(result.sheet) as sheet:
        assert is_synthetic(sheet.info)
    for row in opened.table.select(["patch_id", "image"]).to_pylist():
        with Image.open(BytesIO(row["image"]["bytes"])) as image:
            assert image.info["Description"].startswith("SYNTHETIC")
            assert image.info["Edit"] == "translate"
            assert image.info["From"] == row["patch_id"].removeprefix("run_").rpartition("_to_")[0]


def test_edits_of_held_out_patients_stay_out_of_training(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    translate(make_run(), everything(store), out=tmp_path / "out", options=QUICK)
    opened = Store(tmp_path / "out")
    seen = [opened.column("patch_id")[row] for row in PatchDataset(opened, split="train").rows]
    assert {name.split("_")[1] for name in seen} == {"S0", "S2", "S4"}
    interpolate(make_run(), everything(store, patches=["S0_0_0", "S1_0_0"]), out=tmp_path / "between", options=QUICK)
    assert set(Store(tmp_path / "between").column("split")) == {"held_out"}


def test_held_out_patches_are_chosen_by_default(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    translate(make_run(), Selection(paths=[store], per_label=5), out=tmp_path / "out", to=["a"], options=QUICK)
    assert sorted(images(tmp_path / "out")) == [f"run_S{i}_0_0_to_a" for i in (1, 3, 5)]


def test_interpolation_starts_and_ends_at_the_two_patches(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    before = images(store)
    options = EditOptions(steps=60, device="cpu", progress=False)
    named = everything(store, patches=["S2_0_0", "S5_0_0"])
    interpolate(make_run(), named, out=tmp_path / "out", frames=4, options=options)
    opened = Store(tmp_path / "out")
    frames = opened.images(range(4)).astype(int)
    assert opened.column("label") == ["b", None, None, "c"]
    for end, name in ((frames[0], "S2_0_0"), (frames[-1], "S5_0_0")):
        assert np.abs(end - before[name]).max() <= 2
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert max(steps) < 0.8 * np.abs(frames[-1] - frames[0]).mean()


def test_inpainting_keeps_known_pixels_and_depends_on_the_seed(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    run, before, hole = make_run(), images(store), central_square(16, share=0.5)
    for name, seed, variants in (("two", 0, 2), ("second", 1, 1)):
        inpaint(run, everything(store), out=tmp_path / name, variants=variants, seed=seed, repeats=2, options=QUICK)
    two, second = images(tmp_path / "two"), images(tmp_path / "second")
    for source, image in before.items():
        first, other = (two[f"run_{source}_filled_{seed}"] for seed in (0, 1))
        assert np.array_equal(first[~hole], image[~hole])
        assert np.array_equal(other[~hole], image[~hole])
        assert not np.array_equal(first[hole], other[hole])
        assert np.array_equal(second[f"run_{source}_filled_1"], other)
    assert two["run_S0_0_0_filled_0"].shape == (16, 16, 3)


def test_inpainting_keeps_every_byte_outside_the_mask(make_run: MakeRun, tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([ramp, ramp.T, 255 - ramp], axis=2)).save(tmp_path / "ramp.png")
    Image.fromarray(np.pad(np.full((1, 1), 255, np.uint8), ((0, 15), (0, 15)))).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.sum() == 1
    inpaint(
        make_run(), Selection(paths=[tmp_path / "ramp.png"]), out=tmp_path / "out", hole=mask, repeats=1, options=QUICK
    )
    inpainted = images(tmp_path / "out")["run_ramp_filled_0"]
    assert np.array_equal(inpainted[~mask], np.asarray(Image.open(tmp_path / "ramp.png"))[~mask])
    assert Store(tmp_path / "out").column("label") == [None]


def test_a_repeated_call_generates_only_missing_parts(
    make_run: MakeRun, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histosynth.sampling.edited_store._BLOCK", 5)
    run, out = make_run(), tmp_path / "out"
    translate(run, everything(store), out=out, options=QUICK)
    complete = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(complete) == 3 + 2
    assert translate(run, everything(store), out=out, options=QUICK).generated == 0
    (out / "manifest.json").unlink()
    min(out.glob("*.parquet")).unlink()
    assert translate(run, everything(store), out=out, options=QUICK).generated == 5
    assert {path.name: path.read_bytes() for path in out.iterdir()} == complete


def test_mistakes_are_rejected_and_leave_no_files(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    run, out = make_run(process="ddpm"), tmp_path / "out"
    Image.new("RGB", (16, 12)).save(tmp_path / "flat.png")
    flat = Selection(paths=[tmp_path / "flat.png"])
    for call, message in (
        (lambda: translate(run, everything(store), out=out, to=["d"], options=QUICK), "knows no label 'd'"),
        (lambda: translate(run, everything(store, patches=["S0_0_1"]), out=out), r"no patch 'S0_0_1' .*did you mean"),
        (lambda: translate(run, flat, out=out), "'flat' is 16 x 12 px, but the model generates 16 x 16 px"),
        (lambda: translate(run, everything(store), out=out, to=["a", "a"]), "two results would be named"),
        (
            lambda: translate(run, everything(store), out=out, options=EditOptions(steps=41)),
            "41 steps requested, but the schedule has 40",
        ),
        (lambda: interpolate(run, everything(store), out=out), "needs two patches, but 6 are selected"),
        (lambda: inpaint(run, everything(store), out=out, hole=np.ones((8, 8), bool)), "the mask is 8 x 8 px"),
        (lambda: inpaint(run, everything(store), out=out, hole=np.zeros((16, 16), bool)), "the mask is empty; paint"),
        (lambda: translate(run, Selection(paths=[store], label="z"), out=out), "knows no label 'z'"),
    ):
        with pytest.raises(HistosynthError, match=message):
            call()
        assert not out.exists()


def test_a_store_of_other_edits_is_rejected(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    run, out = make_run(), tmp_path / "out"
    translate(run, everything(store), out=out, to=["a"], options=QUICK)
    with pytest.raises(HistosynthError, match=r"depth = 1\.0, not 0\.5"):
        translate(run, everything(store), out=out, to=["a"], depth=0.5, options=QUICK)
    with pytest.raises(HistosynthError, match="holds other edits"):
        translate(run, everything(store), out=out, to=["b"], options=QUICK)
    with pytest.raises(HistosynthError, match="edit = translate, not inpaint"):
        inpaint(run, everything(store), out=out, options=QUICK)
    (out / "manifest.json").unlink()
    with pytest.raises(HistosynthError, match="unfinished samples of another model or of other settings"):
        inpaint(run, everything(store), out=out, options=QUICK)


def test_a_patch_at_another_scale_is_rejected(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    patch = Patch(patch_id="fine", image=np.zeros((16, 16, 3), np.uint8), source="real", label="a", mpp=0.5)
    write_part(part_path(store, "T"), [patch], fingerprint="x")
    with pytest.raises(HistosynthError, match=r"'fine' has 0\.5 um/px, but the model generates 1 um/px"):
        translate(make_run(), everything(store, patches=["fine"]), out=tmp_path / "out", options=QUICK)


def test_the_command_line_verbs(make_run: MakeRun, store: Path, tmp_path: Path) -> None:
    run, shared = str(make_run()), ["--steps", "2", "--device", "cpu", "--quiet", "--json"]
    for verb, options, count in (
        ("translate", ["--to", "c", "--depth", "0.5", "--split", "all"], 6),
        ("interpolate", ["--patch", "S0_0_0", "--patch", "S4_0_0", "--frames", "3"], 3),
        ("inpaint", ["--hole", "0.25", "--variants", "2", "--repeats", "1", "--to", "b"], 6),
    ):
        out = str(tmp_path / verb)
        ended = CliRunner().invoke(histosynth, [verb, run, str(store), "--out", out, *options, *shared])
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.output)["images"] == count
