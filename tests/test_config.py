"""Settings: what is written reads back the same, and every mistake is one line that names its mend."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

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


def values(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Every value that the type and the bounds of a field allow."""
    bounds = {type(m).__name__: m for m in field.metadata}
    low = getattr(bounds.get("Ge"), "ge", getattr(bounds.get("Gt"), "gt", None))
    if field.annotation is bool:
        return st.booleans()
    if field.annotation is int:
        return st.integers(low, 2**40)
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
    return st.sampled_from(get_args(field.annotation))


def sections() -> dict[str, dict[str, FieldInfo]]:
    return {name: type(getattr(Settings(), name)).model_fields for name in Settings.model_fields}


CHOICES = {"diffusion": ("process", APPLIES_TO), "gan": ("loss", LOSS_APPLIES_TO)}
"""What else of a section is heeded depends on one of its settings."""


def any_section(name: str, *, kind: str) -> st.SearchStrategy[Any]:
    """All that may be set together: of a kind of model, a process, a loss only what each heeds."""
    section = type(getattr(Settings(), name))
    drawn = {k: f for k, f in sections()[name].items() if k not in NOT_APPLICABLE_TO[kind].get(name, ())}
    if name == "model":
        return st.builds(section, **{k: values(f) for k, f in drawn.items()} | {"kind": st.just(kind)})
    if name not in CHOICES or not drawn:
        return st.builds(section, **{k: values(f) for k, f in drawn.items()})
    choice, heeded_by = CHOICES[name]
    return st.one_of(
        st.builds(
            section,
            **{k: values(f) for k, f in drawn.items() if heeded_by.get(k, chosen) == chosen}
            | {choice: st.just(chosen)},
        )
        for chosen in sorted(set(heeded_by.values()))
    )


any_settings = st.one_of(
    st.builds(Settings, **{name: any_section(name, kind=kind) for name in Settings.model_fields})
    for kind in NOT_APPLICABLE_TO
)


@given(any_settings)
def test_toml_reads_back_unchanged(settings: Settings) -> None:
    assert settings_from_toml(settings.to_toml(), where="test") == settings


def test_every_setting_says_what_it_means() -> None:
    missing = [f"{s}.{k}" for s, fields in sections().items() for k, field in fields.items() if not field.description]
    assert not missing


def test_overrides_apply_to_settings_that_are_there_already() -> None:
    paper = load_settings("paper")
    assert load_settings(paper) == paper
    assert load_settings(paper, overrides=["patches.cap=3"]) == load_settings("paper", overrides=["patches.cap=3"])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PatchSettings().cap = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", presets())
def test_presets_load(name: str) -> None:
    assert load_settings(name) == settings_from_toml(load_settings(name).to_toml(), where=name)


def test_the_paper_preset_spells_out_every_setting_and_its_origin() -> None:
    text = files("histosynth.presets").joinpath("paper.toml").read_text("utf-8")
    tree = tomllib.loads(text)
    assert {section: set(keys) for section, keys in tree.items()} == {s: set(f) for s, f in sections().items()}
    unmarked = [line for line in text.splitlines() if " = " in line and not re.search(r"\S\s+# (paper|ours)\b", line)]
    assert not unmarked
    paper = load_settings("paper")
    assert (paper.patches.region_px, paper.patches.patch_px, paper.patches.cap) == (512, 128, 100)
    process = paper.diffusion
    assert (process.process, process.prediction, process.variance) == ("ddpm", "epsilon", "learned")
    assert process.weighting == "p2"


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
        (["qqq.x=1"], "known here: patches, model, diffusion, gan, train, sample, evaluate"),
        (["patches.cap"], "--set patches.cap: write it as section.key=value, such as --set patches.cap=50"),
        (["cap=5"], "write it as section.key=value"),
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


def test_an_override_into_a_section_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("patches = 3")
    with pytest.raises(HistosynthError, match="'patches' must be a table"):
        load_settings(tmp_path / "own.toml", overrides=["patches.cap=1"])


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(
        HistosynthError,
        match=r"'papr' \(did you mean 'paper'\?\); give a TOML file or one of: demo, paper, progan-demo, progan-paper",
    ):
        load_settings("papr")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["diffusion.weighting=uniform"],
            "'edm' does not heed weighting = uniform; set diffusion.process=ddpm",
        ),
        (
            ["diffusion.process=flow", "diffusion.sigma_data=0.4"],
            "process=edm, or diffusion.sigma_data=0.5",
        ),
        (["diffusion.process=flow", "diffusion.zero_terminal_snr=true"], "or diffusion.zero_terminal_snr=false"),
        (["diffusion.process=ddpm", "diffusion.flow_time=uniform"], "set diffusion.process=flow"),
        (
            ["model.kind=progan", "gan.loss=r1", "gan.drift=1"],
            "loss 'r1' does not heed drift = 1.0; set gan.loss=wgan_gp",
        ),
        (
            ["gan.width=64"],
            "settings: model.kind 'unet' does not heed gan.width = 64; set model.kind=progan, or gan.width=512",
        ),
        (
            ["model.kind=progan", "train.lr=1e-3"],
            "'progan' does not heed train.lr = 0.001; set model.kind=unet, or train.lr",
        ),
        (["model.kind=progan", "train.task=classifier"], "does not heed train.task = classifier"),
        (["model.kind=progan", "diffusion.process=ddpm"], "does not heed diffusion.process = ddpm"),
        (["model.kind=progan", "model.channels=64"], "does not heed model.channels = 64"),
        (["model.kind=progan", "sample.steps=5"], "does not heed sample.steps = 5"),
    ],
)
def test_what_the_process_does_not_heed_is_an_error(overrides: list[str], message: str) -> None:
    with pytest.raises(HistosynthError, match=re.escape(message)) as told:
        load_settings(None, overrides=overrides)
    assert "\n" not in str(told.value)


def test_the_baseline_of_the_paper_sees_the_papers_patches_as_often() -> None:
    paper, baseline = load_settings("paper"), load_settings("progan-paper")
    assert baseline.patches == paper.patches
    assert baseline.train.images == paper.train.images
    assert load_settings("progan-demo").patches == load_settings("demo").patches
    text = files("histosynth.presets").joinpath("progan-paper.toml").read_text("utf-8")
    marked = re.compile(r"\S\s*# (paper|karras|ours)\b")
    assert not [line for line in text.splitlines() if re.match(r"\w+ = ", line) and not marked.search(line)]


def test_every_setting_of_diffusion_says_who_heeds_it() -> None:
    fields = set(DiffusionSettings.model_fields) - {"process"}
    assert fields == set(APPLIES_TO)
