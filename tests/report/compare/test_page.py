"""The page and the charts of a comparison."""

import re
import shutil
from dataclasses import replace

import numpy as np
from PIL import Image

from histosynth.report.compare.build import compare
from histosynth.store.png import is_synthetic


def test_the_page_is_self_contained_and_shows_patches_that_were_measured(paths, real, sources, tmp_path):
    compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    page = (tmp_path / "both" / "compare.html").read_text()
    sources.feed(page)
    assert len(sources.sources) == 2 * 3 * 4
    assert all(source.startswith("data:image/png;base64,") for source in sources.sources)
    assert not {"script", "link", "iframe"} & set(sources.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    report = (paths[1] / "report.html").read_text()
    shown = re.findall(r'title="(off-run-1-[^"]+)"', page)
    panels = report.partition("<h2>Patches</h2>")[2].partition("</section>")[0]
    assert shown == re.findall(r'title="(off-run-1-[^"]+)"', panels), "the same patches, in the same order"
    assert page.count("made by a model") == 4


def test_the_charts_and_their_marks(paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    figures = tmp_path / "both" / "figures"
    assert sorted(p.name for p in figures.iterdir()) == [
        "intervals.png", "intervals.svg", "patches-IDHmut.png", "patches-IDHwt.png",
    ]  # fmt: skip
    with Image.open(figures / "patches-IDHwt.png") as image:
        texts, pixels = image.info, np.asarray(image)
    assert is_synthetic(texts)
    assert texts["Source"] == "run-1, run-2"
    block = 4 * 80 + 3 * 4
    assert pixels.shape == (26 + 80, 3 * block + 2 * 16, 3)


def test_each_block_shows_the_patches_of_its_store(make, real, fake_rows, report, tmp_path):
    """One flat color per model: each is below its title."""
    for name, tone in (("dark", 40), ("light", 220)):
        flat = [replace(p, source=name, image=np.full_like(p.image, tone)) for p in fake_rows]
        report(real, make(f"{name}-samples", flat), out=name)
    compare(reports=[tmp_path / "dark", tmp_path / "light"], out=tmp_path / "both", stores=[tmp_path])
    with Image.open(tmp_path / "both" / "figures" / "patches-IDHmut.png") as image:
        pixels = np.asarray(image)
    block = 4 * 80 + 3 * 4
    assert (pixels[26:106, block + 16 : block + 96] == 40).all()
    assert (pixels[26:106, 2 * (block + 16) : 2 * (block + 16) + 80] == 220).all()


def test_missing_and_changed_stores_are_reported(paths, make, fake_rows, real, tmp_path):
    shutil.rmtree(tmp_path / "one-samples")
    shutil.rmtree(tmp_path / "two-samples")
    make("two-samples", [replace(p, source="run-2") for p in fake_rows])
    content = compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    texts = " | ".join(c["text"] for c in content["cautions"])
    assert "Patches not shown (run-1, synthetic)" in texts
    assert re.search(r"Patches not shown \(run-2, synthetic\): .*two-samples no longer holds the patches", texts)
    assert "Patches not shown (run-1, synthetic)" in (tmp_path / "both" / "compare.html").read_text()
    with Image.open(tmp_path / "both" / "figures" / "patches-IDHwt.png") as image:
        assert not is_synthetic(image.info), "only real patches are left"
    shutil.rmtree(real.path)
    compare(reports=paths, out=tmp_path / "both", stores=[tmp_path])
    assert sorted(p.suffix for p in (tmp_path / "both" / "figures").iterdir()) == [".png", ".svg"]


def test_markup_is_escaped(make, real_rows, fake_rows, report, tmp_path):
    rename = {"IDHmut": "<b>a/b & c</b>|x", "IDHwt": "$IDH_{wt}"}
    real = make("odd", [replace(p, label=rename[p.label]) for p in real_rows])
    for name in ("<i>one</i>", "two|"):
        rows = [replace(p, label=rename[p.label], source=name) for p in fake_rows]
        report(real, make(f"samples-{len(name)}", rows), out=f"r{len(name)}")
    compare(reports=[tmp_path / "r10", tmp_path / "r4"], out=tmp_path / "both", stores=[tmp_path])
    page = (tmp_path / "both" / "compare.html").read_text()
    assert "<i>one</i>" not in page
    assert "&lt;i&gt;one&lt;/i&gt;" in page
    assert "&lt;b&gt;a/b &amp; c&lt;/b&gt;|x" in page
    assert "two\\|" in (tmp_path / "both" / "compare.md").read_text()
    assert (tmp_path / "both" / "figures" / "patches-%3Cb%3Ea%2Fb %26 c%3C%2Fb%3E%7Cx.png").is_file()
