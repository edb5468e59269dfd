"""A normalized store: equal to extraction with normalization, with a status per patch, and every error reported."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.cli import main
from histosynth.config import PatchSettings
from histosynth.convert.pack import pack
from histosynth.errors import HistosynthError
from histosynth.normalization import normalize as module
from histosynth.normalization.normalize import normalize
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest

Content = Callable[[Path], dict[str, bytes]]
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Return a function that runs the command in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", "normalize", *map(str, arguments), "--quiet"])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


def run(raw: Path, out: Path, **options: Any) -> module.NormalizeResult:
    return normalize(raw, out=out, progress=False, **options)


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def test_normalizing_a_raw_store_equals_extraction_with_normalization(
    draw_cohort: Any, small: PatchSettings, tmp_path: Path, store: Any
) -> None:
    cohort, settings = draw_cohort(3), small.model_copy(update={"patch_px": 32})
    for per in ("slide", "patch"):
        extracted = store(cohort, tmp_path / f"extracted-{per}", settings, stain="macenko", stain_per=per)
        raw = tmp_path / "raw"
        if not raw.exists():
            store(cohort, raw, settings, stain="none")
        out = tmp_path / f"out-{per}"
        run(raw, out, per=per)
        a, b = Store(extracted), Store(out)
        assert a.table.equals(b.table)
        assert set(b.column("stain")) == {"normalized"}
        facts, expected = manifest(out), manifest(extracted)
        assert [slide["stain"] for slide in facts["slides"]] == [slide["stain"] for slide in expected["slides"]]
        assert facts["settings"] == expected["settings"]
    assert set(Store(raw).column("stain")) == {"raw"}


def test_slides_of_four_laboratories_become_similar(raw: Path, tmp_path: Path) -> None:
    for target in ("", "median"):
        result = run(raw, tmp_path / f"out{target}", target=target)
        spread = result.between_slides
        assert spread is not None
        assert spread["slides"] == 4
        assert spread["raw"] > 0.2
        assert spread["normalized"] < spread["raw"] / 8


def test_every_patch_has_a_status(tmp_path: Path, draw_cohort: Any) -> None:
    """Tissue is normalized; blank, black and uniform tiles keep every pixel, and their status gives the reason."""
    cohort = draw_cohort(1)
    tissue = np.asarray(Image.open(cohort.slides / "S0.png"))[64:128, 64:128]
    tiles = {
        "tissue": tissue,
        "blank": np.full_like(tissue, 243),
        "black": np.zeros_like(tissue),
        "uniform": np.full_like(tissue, 120),
    }
    (tmp_path / "tiles" / "a").mkdir(parents=True)
    for name, tile in tiles.items():
        Image.fromarray(tile).save(tmp_path / "tiles" / "a" / f"{name}.png")
    pack(tmp_path / "tiles", out=tmp_path / "raw", settings=PatchSettings(), progress=False)
    for per in ("slide", "patch"):  # each packed tile counts as a slide
        result = run(tmp_path / "raw", tmp_path / per, per=per)
        done = Store(tmp_path / per)
        statuses = dict(zip(done.column("patch_id"), done.column("stain"), strict=True))
        assert statuses == {
            "a_tissue": "normalized",
            "a_blank": "skipped:too-few-pixels",
            "a_black": "skipped:black",
            "a_uniform": "skipped:uniform",
        }
        assert sum(result.patches.values()) == 4
        before = Store(tmp_path / "raw")
        for row, status in enumerate(done.column("stain")):
            same = (done.images([row]) == before.images([row])).all()
            assert same == (status != "normalized")
        assert result.between_slides is None  # only one slide can be measured


def test_resuming_gives_the_same_bytes(
    raw: Path, tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "whole")
    write = module.write_part

    def full(path: Path, *arguments: Any, **more: Any) -> None:
        if "S2" in path.name:
            raise OSError(28, "No space left on device")
        write(path, *arguments, **more)

    monkeypatch.setattr(module, "write_part", full)
    with pytest.raises(OSError, match="No space"):
        run(raw, tmp_path / "broken")
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["part-S0.parquet", "part-S1.parquet"]
    monkeypatch.undo()
    assert run(raw, tmp_path / "broken").parts_resumed == 2
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert run(raw, tmp_path / "broken").parts_resumed == 4
    assert run(raw, tmp_path / "broken", target="median").parts_resumed == 0


def test_synthetic_patches_stay_synthetic(raw: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    made = [
        Patch(patch_id=f"run_{n}", image=image, source="run", label="codel")
        for n, image in enumerate(Store(raw).images(range(6)))
    ]
    write_part(part_path(samples, "0"), made, fingerprint="x")
    write_manifest(samples, {"synthetic": True})
    result = run(samples, tmp_path / "out", preview=True)
    done = Store(tmp_path / "out")
    assert set(done.column("source")) == {"run"}
    assert done.manifest["synthetic"] is True
    assert list(done.manifest["staining"]["slides"]) == ["run"]
    assert result.preview is not None
    with Image.open(result.preview) as picture:
        assert picture.info["Description"].startswith("SYNTHETIC")


def test_the_preview_shows_raw_beside_normalized(raw: Path, tmp_path: Path) -> None:
    result = run(raw, tmp_path / "out", preview=True)
    assert result.preview == tmp_path / "out" / "preview" / "stain.png"
    sheet = np.asarray(Image.open(result.preview)).astype(float)
    half = sheet.shape[1] // 2
    tops = [44 + n * 137 + 22 for n in range(4)]
    means = [[side[top : top + 112, :457].mean((0, 1)) for top in tops] for side in (sheet, sheet[:, half + 12 :])]
    spread = [np.std(some, axis=0).max() for some in means]
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "macenco"}, "unknown normalizer 'macenco' (did you mean 'macenko'?)"),
        ({"target": "nowhere.png"}, "stain target 'nowhere.png' is neither an image nor a patch store; check the path"),
        ({"target": "median", "per": "patch"}, "the median target requires fits per slide"),
        ({"method": "none", "target": "median"}, "has no target"),
        ({"target": "median", "fallback": "reinhard"}, "a fallback has no target; pass an image"),
        ({"method": "none", "fallback": "reinhard"}, "the fallback 'reinhard' never applies"),
        ({"fallback": "vahadan"}, "did you mean 'vahadane'"),
        ({"target": "{blank}"}, "cannot be fitted by macenko: fewer stained pixels than an estimate needs"),
        ({"device": "gpu0"}, "--device gpu0 cannot be used"),
        ({"method": "none", "device": "cpu"}, "the torch backend supports Macenko and Vahadane, not NoNormalization"),
        ({"out": "{raw}"}, "is the store itself; choose another directory"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_writes_no_files(
    raw: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (64, 64), "white").save(blank)
    options = {key: value.format(raw=raw, blank=blank) for key, value in change.items()}
    out = Path(options.pop("out", tmp_path / "out"))
    with pytest.raises(HistosynthError) as error:
        run(raw, out, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert out == raw or not out.exists()


def test_a_store_is_not_normalized_twice_or_over_another(raw: Path, tmp_path: Path, content: Content) -> None:
    run(raw, tmp_path / "once")
    with pytest.raises(HistosynthError, match=r"is normalized already \(macenko\); pass one with raw colors"):
        run(tmp_path / "once", tmp_path / "twice")
    before = content(raw)
    other = tmp_path / "other"
    other.mkdir()
    (raw / "part-S3.parquet").rename(other / "part-S3.parquet")
    with pytest.raises(HistosynthError, match="were not normalized from a store 'raw', such as part-S3"):
        run(raw, other)
    (other / "part-S3.parquet").rename(raw / "part-S3.parquet")
    assert content(raw) == before


def test_the_torch_backend_agrees_to_one_gray_level(raw: Path, tmp_path: Path) -> None:
    for per in ("slide", "patch"):
        run(raw, tmp_path / f"numpy-{per}", per=per)
        run(raw, tmp_path / f"torch-{per}", per=per, device="cpu")
        a, b = (Store(tmp_path / f"{backend}-{per}") for backend in ("numpy", "torch"))
        assert a.column("stain") == b.column("stain")
        difference = a.images(range(len(a))).astype(int) - b.images(range(len(b)))
        assert np.abs(difference).max() <= 1
        assert b.manifest["staining"]["backend"] == "torch"


def test_the_command_reports_statuses_and_distance(raw: Path, tmp_path: Path, verb: Verb) -> None:
    code, out, _ = verb(raw, "--out", tmp_path / "out", "--stain-target", "median", "--preview", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["patches"] == {"normalized": 48}
    assert facts["between_slides"]["slides"] == 4
    code, out, err = verb(raw, "--out", tmp_path / "out", "--stain-target", "median")
    assert "48 patches" in out
    assert "4 part(s) were complete already" in err
    assert verb(tmp_path / "nothing", "--out", tmp_path / "x")[0] == 2
