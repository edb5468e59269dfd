"""Templates, styles and scripts: the content security policy allows them, and their contrast is sufficient."""

import re
from pathlib import Path

import histosynth.study.app

PACKAGE = Path(histosynth.study.app.__file__).parent


def test_pages_have_no_inline_scripts_or_styles() -> None:
    parts = [PACKAGE / "templates" / name for name in ("base.html.j2", "viewer.html.j2")]
    pages = [path for path in PACKAGE.glob("templates/*.j2") if "{% extends " in path.read_text("utf-8")]
    templates = parts + pages
    assert len(templates) > 8
    for path in templates:
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", path.read_text("utf-8")), (
            path
        )


def test_scripts_and_styles_load_nothing_from_elsewhere() -> None:
    for path in PACKAGE.glob("static/*"):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text("utf-8")), path


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two greys by WCAG 2.2."""

    def luminance(grey: str) -> float:
        value = int(grey[1:3], 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colors_are_greys_with_sufficient_contrast() -> None:
    style = (PACKAGE / "static" / "study.css").read_text("utf-8")
    grey = dict(re.findall(r"--(\w+): (#\w{6})", style))
    for color in grey.values():
        assert color[1:3] == color[3:5] == color[5:7]  # no tint next to the tissue
    for ground in ("ground", "card"):
        assert contrast(grey["ink"], grey[ground]) > 7
        assert contrast(grey["soft"], grey[ground]) > 4.5
        assert contrast(grey["edge"], grey[ground]) > 3  # borders of controls
