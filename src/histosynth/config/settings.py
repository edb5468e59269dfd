"""All sections of the settings, and the settings that a kind of model does not use."""

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
        "train": {"task", "compile", "optimizer", "lr", "warmup", "weight_decay", "clip", "ema_halflife", "label_drop"},
        "sample": set(SampleSettings.model_fields) - {"batch", "precision"},
    },
}
"""Kind of model -> section -> settings that it does not use."""


class Settings(Section):
    """All settings from slide to report."""

    patches: PatchSettings = PatchSettings()
    model: ModelSettings = ModelSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    gan: GanSettings = GanSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """Reject settings of another kind of model that differ from their default."""
        kind = self.model.kind
        for name, keys in NOT_APPLICABLE_TO[kind].items():
            for key, value, default in getattr(self, name).non_default(sorted(keys)):
                other = "progan" if kind == "unet" else "unet"
                raise ValueError(
                    f"model.kind '{kind}' does not use {name}.{key} = {value}; set model.kind={other}, or "
                    f"{name}.{key}={default}"
                )
        return self

    @property
    def model_role(self) -> str:
        """The role of the trained model: `denoiser`, `classifier`, or `generator` of a GAN."""
        return "generator" if self.model.kind == "progan" else self.train.task

    def to_toml(self) -> str:
        """Return the settings as TOML, which `load_settings` reads back unchanged."""
        return tomli_w.dumps(self.model_dump(mode="json"))
