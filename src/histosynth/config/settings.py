"""All sections together, and what one kind of model does not heed."""

from collections.abc import Collection, Mapping
from typing import Self

import tomli_w
from pydantic import model_validator

from histosynth.config.evaluate import EvaluateSettings
from histosynth.config.model import DiffusionSettings, GanSettings, ModelSettings
from histosynth.config.patches import PatchSettings
from histosynth.config.sample import SampleSettings
from histosynth.config.section import Section
from histosynth.config.train import TrainSettings

NOT_APPLICABLE_TO: Mapping[str, Mapping[str, Collection[str]]] = {
    "unet": {"gan": set(GanSettings.model_fields)},
    "progan": {
        "model": set(ModelSettings.model_fields) - {"kind"},
        "diffusion": set(DiffusionSettings.model_fields),
        "train": {"task", "compile", "lr", "warmup", "weight_decay", "clip", "ema_halflife", "label_drop"},
        "sample": set(SampleSettings.model_fields) - {"batch"},
    },
}
"""Settings, section by section, that a kind of model passes over."""


class Settings(Section):
    """All settings of one way from slide to report."""

    patches: PatchSettings = PatchSettings()
    model: ModelSettings = ModelSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    gan: GanSettings = GanSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """What another kind of model alone heeds must be left at its default."""
        kind = self.model.kind
        for name, keys in NOT_APPLICABLE_TO[kind].items():
            for key, given, default in getattr(self, name).non_default(sorted(keys)):
                other = "progan" if kind == "unet" else "unet"
                raise ValueError(
                    f"model.kind '{kind}' does not heed {name}.{key} = {given}; set model.kind={other}, or "
                    f"{name}.{key}={default}"
                )
        return self

    @property
    def model_role(self) -> str:
        """What is trained: `denoiser`, `classifier`, or the `generator` of a GAN."""
        return "generator" if self.model.kind == "progan" else self.train.task

    def to_toml(self) -> str:
        """The settings as TOML; `load_settings` reads them back unchanged."""
        return tomli_w.dumps(self.model_dump(mode="json"))
