"""Settings: TOML reads back unchanged, and each mistake is reported in one line with its fix."""

import os
import re
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from histosynth.config import (
    APPLIES_TO,
    LOSS_APPLIES_TO,
    NOT_APPLICABLE_TO,
    DiffusionSettings,
    PatchSettings,
    Settings,
    load_settings,
    presets,
    settings_from_toml,
)
from histosynth.errors import HistosynthError
from limits import attempt
from mutations import Mutations


def values(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Return a strategy for all values that the type and the bounds of a field allow."""
    bounds = {type(m).__name__: m for m in field.metadata}
    low = getattr(bounds.get("Ge"), "ge", getattr(bounds.get("Gt"), "gt", None))
    if field.annotation is bool:
        return st.booleans()
    if field.annotation is int:
        return st.integers(low, getattr(bounds.get("Le"), "le", 2**40))
    if field.annotation is float:
        high = getattr(bounds.get("Le"), "le", getattr(bounds.get("Lt"), "lt", None))
        ends = {"exclude_min": "Gt" in bounds, "exclude_max": "Lt" in bounds}
        return st.floats(low, high, **ends, allow_infinity=False, allow_nan=False)
    if field.annotation is str:
        return st.text()
    if get_origin(field.annotation) is dict:
        return st.dictionaries(st.text(), st.floats(0, exclude_min=True, allow_infinity=False), max_size=4)
    if get_origin(field.annotation) is tuple:
        least = next((m.min_length for m in field.metadata if isinstance(m, annotated_types.MinLen)), 0)
        (kind, *_) = get_args(field.annotation)
        item = st.sampled_from(get_args(kind)) if get_origin(kind) is Literal else st.integers(1, 512)
        item = st.text() if kind is str else item
        return st.lists(item, min_size=least, max_size=6).map(tuple)
    if get_origin(field.annotation) is Union:  # such as bool | Literal["auto"]
        return st.one_of(
            st.booleans() if kind is bool else st.sampled_from(get_args(kind)) for kind in get_args(field.annotation)
        )
    return st.sampled_from(get_args(field.annotation))


def sections() -> dict[str, dict[str, FieldInfo]]:
    return {name: type(getattr(Settings(), name)).model_fields for name in Settings.model_fields}


CHOICES = {"diffusion": ("process", APPLIES_TO), "gan": ("loss", LOSS_APPLIES_TO)}
"""Sections in which one setting determines which others are used."""


def any_section(name: str, *, kind: str) -> st.SearchStrategy[Any]:
    """Return a strategy for valid sections: only settings that the kind of model, the process and the loss use."""
    section = type(getattr(Settings(), name))
    drawn = {k: f for k, f in sections()[name].items() if k not in NOT_APPLICABLE_TO[kind].get(name, ())}
    if name == "model":
        return st.builds(section, **{k: values(f) for k, f in drawn.items()} | {"kind": st.just(kind)})
    if name not in CHOICES or not drawn:
        return st.builds(section, **{k: values(f) for k, f in drawn.items()})
    choice, applies_to = CHOICES[name]
    return st.one_of(
        st.builds(
            section,
            **{k: values(f) for k, f in drawn.items() if applies_to.get(k, chosen) == chosen}
            | {choice: st.just(chosen)}
            | ({"mixture": st.integers(1, 1000)} if chosen == "edm" else {}),  # without one, whitening is refused
        )
        for chosen in sorted(set(applies_to.values()))
    )


any_settings = st.one_of(
    st.builds(Settings, **{name: any_section(name, kind=kind) for name in Settings.model_fields})
    for kind in NOT_APPLICABLE_TO
)


@given(any_settings)
def test_toml_reads_back_unchanged(settings: Settings) -> None:
    assert settings_from_toml(settings.to_toml(), where="test") == settings


def test_every_setting_has_a_description() -> None:
    missing = [f"{s}.{k}" for s, fields in sections().items() for k, field in fields.items() if not field.description]
    assert not missing


def test_overrides_apply_to_existing_settings() -> None:
    paper = load_settings("paper")
    assert load_settings(paper) == paper
    assert load_settings(paper, overrides=["patches.cap=3"]) == load_settings("paper", overrides=["patches.cap=3"])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PatchSettings().cap = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("patches.cap=50", "patches", "cap", 50),
        ("train.lr = 3e-4", "train", "lr", 3e-4),
        ("train.images=1_000", "train", "images", 1000),
        ("model.channel_mult=[1,2]", "model", "channel_mult", (1, 2)),
        ("model.attention_px=[]", "model", "attention_px", ()),
        ("sample.sampler=heun", "sample", "sampler", "heun"),
        ('patches.tumor_classes=["Tumor = core", "Tumor"]', "patches", "tumor_classes", ("Tumor = core", "Tumor")),
        ("patches.tumor_classes=a=b", "patches", "tumor_classes", ("a=b",)),
        ("patches.exclude_classes=[]", "patches", "exclude_classes", ()),
        ("train.flips=false", "train", "flips", False),
        ('train.weights={"IDHmut-codel" = 2, IDHwt = 0.5}', "train", "weights", {"IDHmut-codel": 2.0, "IDHwt": 0.5}),
    ],
)
def test_overrides(override: str, section: str, key: str, value: object) -> None:
    settings = load_settings("paper", overrides=["patches.cap=7", override])
    assert getattr(getattr(settings, section), key) == value
    rest = load_settings("paper", overrides=["patches.cap=7"]).model_dump()
    rest[section][key] = value
    assert settings.model_dump() == rest


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["patchs.cap=1"], "settings: unknown setting 'patchs' (did you mean 'patches'?)"),
        (["patches.capp=1"], "settings: unknown setting 'patches.capp' (did you mean 'cap'?)"),
        (["qqq.x=1"], "known settings: patches, model, diffusion, gan, train, sample, evaluate"),
        (
            ["patches.cap"],
            "--set patches.cap is not of the form section.key=value; write, for example, --set patches.cap=50",
        ),
        (["cap=5"], "is not of the form section.key=value"),
        (["patches.cap=0"], "settings: patches.cap = 0: input should be greater than or equal to 1"),
        (["patches.tumor_classes=[]"], "patches.tumor_classes = []: tuple should have at least 1 item"),
        (["patches.cap=many"], "patches.cap = 'many': input should be a valid integer"),
        (["patches.cap=true"], "patches.cap = True: input should be a valid integer"),
        (["patches.cap=2.5"], "patches.cap = 2.5: input should be a valid integer"),
        (["train.lr=inf"], "train.lr = inf: input should be a finite number"),
        (["train.lr=nan"], "train.lr = nan: input should be"),
        (["diffusion.schedule=quadratic"], "input should be 'linear' or 'cosine'"),
        (["model.channel_mult=[]"], "model.channel_mult = []: "),
        (["model.channel_mult=[1, 0]"], "model.channel_mult.1 = 0: input should be greater than or equal to 1"),
    ],
)
def test_mistakes_in_overrides(overrides: list[str], message: str) -> None:
    with pytest.raises(HistosynthError) as caught:
        load_settings(overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[patches]\ncap = ", "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"patches = 3", "patches = 3"),
        (b"[patches]\nstian = 'none'", "unknown setting 'patches.stian' (did you mean 'stain'?)"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(HistosynthError) as caught:
        load_settings(path)
    assert message in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_override_of_a_section_that_is_not_a_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("patches = 3")
    with pytest.raises(HistosynthError, match="'patches' must be a table"):
        load_settings(tmp_path / "own.toml", overrides=["patches.cap=1"])


def test_unknown_preset_is_reported_with_the_known_ones() -> None:
    with pytest.raises(
        HistosynthError,
        match=r"'papr' is neither a preset nor a file \(did you mean 'paper'\?\); "
        "pass a TOML file or one of: demo, paper, paper-8gpu, progan-demo, progan-paper, small",
    ):
        load_settings("papr")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["diffusion.weighting=uniform"],
            "'edm' does not use weighting = uniform; set diffusion.process=ddpm",
        ),
        (
            ["diffusion.process=flow", "diffusion.sigma_data=0.4"],
            "process=edm, or diffusion.sigma_data=0.5",
        ),
        (["diffusion.process=flow", "diffusion.mixture=64"], "set diffusion.process=edm, or diffusion.mixture=0"),
        (["diffusion.whitening=0.0"], "set diffusion.mixture=64, or diffusion.whitening=0.5"),
        (["diffusion.process=flow", "diffusion.zero_terminal_snr=true"], "or diffusion.zero_terminal_snr=false"),
        (["diffusion.process=ddpm", "diffusion.flow_time=uniform"], "set diffusion.process=flow"),
        (
            ["model.kind=progan", "gan.loss=r1", "gan.drift=1"],
            "loss 'r1' does not use drift = 1.0; set gan.loss=wgan_gp",
        ),
        (
            ["gan.width=64"],
            "settings: model.kind 'unet' does not use gan.width = 64; set model.kind=progan, or gan.width=512",
        ),
        (
            ["model.kind=progan", "train.lr=1e-3"],
            "'progan' does not use train.lr = 0.001; set model.kind=unet, or train.lr",
        ),
        (["model.kind=progan", "train.task=classifier"], "does not use train.task = classifier"),
        (["model.kind=progan", "diffusion.process=ddpm"], "does not use diffusion.process = ddpm"),
        (["model.kind=progan", "model.channels=64"], "does not use model.channels = 64"),
        (["model.kind=progan", "sample.steps=5"], "does not use sample.steps = 5"),
    ],
)
def test_unused_settings_are_an_error(overrides: list[str], message: str) -> None:
    with pytest.raises(HistosynthError, match=re.escape(message)) as caught:
        load_settings(None, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_the_small_preset_trains_from_a_mixture_by_muon_and_its_network_fits_32_px() -> None:
    small = load_settings("small")
    assert (small.diffusion.process, small.diffusion.mixture, small.diffusion.whitening) == ("edm", 64, 0.5)
    assert (small.train.optimizer, small.train.lr_decay, small.train.batch) == ("muon", "linear", 32)
    assert small.patches.patch_px % (small.model.stem * 2 ** (len(small.model.channel_mult) - 1)) == 0


@pytest.mark.parametrize("name", [None, *(name for name in presets() if name != "small")])
def test_the_recipe_of_small_is_off_elsewhere(name: str | None) -> None:
    settings = load_settings(name)
    assert settings.diffusion.mixture == 0
    assert settings.train.optimizer == "adamw"
    assert settings.train.lr_decay != "linear"
    assert settings.sample.autoguidance == 1


def test_every_diffusion_setting_has_a_process() -> None:
    fields = set(DiffusionSettings.model_fields) - {"process"}
    assert fields == set(APPLIES_TO)


def test_damaged_settings_give_one_line_or_load(tmp_path: Path) -> None:
    path = tmp_path / "damaged.toml"
    refused = 0
    for copy in Mutations(load_settings("paper").to_toml().encode(), count=500):
        path.write_bytes(copy)
        refused += attempt(lambda: load_settings(path)) is not None
    assert 100 < refused < 500


def test_a_named_pipe_as_settings_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(HistosynthError, match=r"is neither a preset nor a file|is not a regular file"):
        load_settings(tmp_path / "pipe.toml")
