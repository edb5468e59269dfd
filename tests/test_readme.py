"""The Python example of the README runs as printed, on a small demo."""

import re
from pathlib import Path

import pytest

from histosynth import extract, load_settings, train
from histosynth.slides.phantom import draw_cohort

README = Path(__file__).resolve().parents[1] / "README.md"
SMALL = [
    "patches.patch_px=16", "patches.region_px=64", "patches.cap=24", "model.channels=16", "model.channel_mult=[1,2]",
    "model.heads=2", "model.attention_px=[8]", "train.images=32", "sample.steps=2",
]  # fmt: skip


@pytest.mark.slow
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = draw_cohort(tmp_path / "demo" / "cohort", patients_per_genotype=2, size_px=768, workers=1, progress=False)
    settings = load_settings("demo", overrides=SMALL)
    store, run = tmp_path / "demo" / "store", tmp_path / "demo" / "run"
    tables = {"outlines": cohort.outlines, "labels": cohort.labels}
    extract([cohort.slides], out=store, settings=settings.patches, workers=1, progress=False, **tables)
    train(store, out=run, settings=settings, device="cpu", progress=False)

    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})
    assert re.fullmatch(r"\{'value': [\d.]+, .*\}", capsys.readouterr().out.strip().splitlines()[-1])
    assert (tmp_path / "report" / "report.html").is_file()
