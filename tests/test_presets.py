"""Presets: each value that the paper states stands in its preset with its source, and no preset repeats defaults."""

import re
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from histosynth.config import Settings, load_settings, presets, settings_from_toml


@pytest.mark.parametrize("name", presets())
def test_presets_load(name: str) -> None:
    assert load_settings(name) == settings_from_toml(load_settings(name).to_toml(), where=name)


SOURCE = re.compile(r"^(\w+) = .*\S\s+# (paper|ADM|P2|Karras|other|ours)\b")
PAPER: dict[str, dict[str, Any]] = {
    "patches": {"region_px": 512, "patch_px": 128, "cap": 100, "stain": "macenko"},
    "model": {
        "kind": "unet", "channels": 256, "channel_mult": [1, 1, 2, 3, 4], "blocks": 2, "attention_px": [32, 16, 8],
        "heads": 4,
    },
    "diffusion": {
        "process": "ddpm", "schedule": "linear", "timesteps": 1000, "prediction": "epsilon", "variance": "learned",
        "weighting": "p2", "p2_k": 1.0, "p2_gamma": 0.5,
    },
    "evaluate": {"extractor": "auto", "neighbors": 3},
}  # fmt: skip
STATED: dict[str, dict[str, dict[str, Any]]] = {
    "paper": PAPER,
    "paper-8gpu": {**PAPER, "train": {"batch": 256, "lr": 1e-4, "ema_halflife": 1_770_000}},
    "progan-paper": {
        "patches": {"region_px": 512, "patch_px": 128, "cap": 100, "stain": "macenko"},
        "model": {"kind": "progan"},
        "gan": {
            "stable_images": 600_000, "fade_images": 600_000, "loss": "wgan_gp", "gp_lambda": 10.0, "drift": 0.001,
            "lr": 1e-3, "ema_halflife": 11_000,
        },
        "evaluate": {"extractor": "auto", "neighbors": 3},
    },
}  # fmt: skip
"""Values that the paper, or a publication that it builds on, states."""


def preset(name: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the text of a preset and its parsed tables."""
    text = files("histosynth.presets").joinpath(f"{name}.toml").read_text("utf-8")
    return text, tomllib.loads(text)


def sources(name: str) -> dict[tuple[str, str], str]:
    """Return the source that a preset names for each of its settings, by section and key."""
    section, named = "", {}
    for line in preset(name)[0].splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif match := SOURCE.match(line):
            named[section, match[1]] = match[2]
    return named


@pytest.mark.parametrize("name", STATED)
def test_presets_of_the_paper_contain_each_stated_value_with_its_source(name: str) -> None:
    tables, named = preset(name)[1], sources(name)
    assert set(named) == {(section, key) for section, keys in tables.items() for key in keys}
    for section, keys in STATED[name].items():
        assert {key: tables[section][key] for key in keys} == keys
        assert not [key for key in keys if named[section, key] == "ours"]


@pytest.mark.parametrize("name", presets())
def test_presets_contain_only_stated_values_and_those_that_differ_from_the_defaults(name: str) -> None:
    settings, defaults = load_settings(name).model_dump(), Settings().model_dump()
    named = sources(name) if name in STATED else {}
    for section, keys in preset(name)[1].items():
        equal = {key for key in keys if settings[section][key] == defaults[section][key]}
        assert not [key for key in equal if named.get((section, key), "ours") == "ours"]


def test_the_baseline_of_the_paper_uses_the_same_patches_and_number_of_images() -> None:
    paper, baseline = load_settings("paper"), load_settings("progan-paper")
    assert baseline.patches == paper.patches
    assert baseline.train.images == paper.train.images
    assert load_settings("progan-demo").patches == load_settings("demo").patches


def test_the_preset_for_eight_gpus_differs_from_the_paper_by_its_batch_and_what_is_counted_in_steps() -> None:
    paper, eight = load_settings("paper"), load_settings("paper-8gpu")
    larger = eight.train.batch / paper.train.batch
    assert (eight.train.batch % 8, larger) == (0, 4)
    in_steps = ("warmup", "checkpoint_every", "samples_every")
    changes: dict[str, Any] = {key: larger * getattr(paper.train, key) for key in in_steps}
    changes |= {"batch": 256, "ema_halflife": eight.train.ema_halflife}
    assert eight == paper.model_copy(update={"train": paper.train.model_copy(update=changes)})
    for settings in (paper, eight):  # ADM's decay of 0.9999 per step
        (halflife,) = settings.train.ema_halflife
        assert 0.5 ** (settings.train.batch / halflife) == pytest.approx(0.9999, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_both_values_of_p2_are_offered(gamma: float) -> None:
    """Choi et al. 2022 use 0.5 and 1; the preset names both in the line of the one that it takes."""
    settings = load_settings("paper", overrides=[f"diffusion.p2_gamma={gamma}"])
    assert (settings.diffusion.weighting, settings.diffusion.p2_gamma) == ("p2", gamma)
    line = next(line for line in preset("paper")[0].splitlines() if line.startswith("p2_gamma"))
    assert "0.5" in line
    assert "p2_gamma=1" in line
