"""Settings: frozen, validated, written as TOML, overridden by `section.key=value`. Unknown keys get a suggestion.

Each section belongs to one step from slide to report. The defaults are the recommended values. `presets/` contains
named sets: `demo` (minutes on a laptop), `small` (minutes to hours on a few cores), `paper` (ADM-128 after Azadi
Moghadam et al. 2023), and two for the paper's baseline, a progressive GAN: `progan-demo` and `progan-paper`.
"""

from histosynth.config.evaluate import EvaluateSettings
from histosynth.config.loading import load_settings, presets, settings_from_toml
from histosynth.config.model import APPLIES_TO, LOSS_APPLIES_TO, DiffusionSettings, GanSettings, ModelSettings
from histosynth.config.patches import PatchSettings
from histosynth.config.sample import SampleSettings
from histosynth.config.section import Section, Sizes
from histosynth.config.settings import NOT_APPLICABLE_TO, Settings
from histosynth.config.study import StudySettings, study_settings
from histosynth.config.train import TrainSettings

__all__ = [
    "APPLIES_TO", "LOSS_APPLIES_TO", "NOT_APPLICABLE_TO", "DiffusionSettings", "EvaluateSettings", "GanSettings",
    "ModelSettings", "PatchSettings", "SampleSettings", "Section", "Settings", "Sizes", "StudySettings",
    "TrainSettings", "load_settings", "presets", "settings_from_toml", "study_settings",
]  # fmt: skip
