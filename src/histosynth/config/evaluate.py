"""Settings of the evaluation."""

from typing import Literal

from pydantic import Field

from histosynth.config.section import Section


class EvaluateSettings(Section):
    """`histosynth evaluate`."""

    extractor: str = "auto"
    """Feature extractor: `inception`, `efficientnet-lite0`, `dinov2`, `clip`, `timm:MODEL`, `hf-hub:MODEL`, or a
    registered one. `auto`: `inception` if its weights are given or already downloaded, otherwise `efficientnet-lite0`,
    which needs no download."""
    weights: str = ""
    """Weights file of the extractor; empty: the extractor's default location."""
    cache: str = "auto"
    """Directory in which features are cached for later evaluations; `auto`: the user's cache directory; `off`: no
    cache."""
    neighbors: int = Field(3, ge=1)
    """k of improved precision and recall."""
    reference: Literal["held_out", "train"] = "held_out"
    """Patients of the main results. `held_out`: those that the model was not trained on. `train`: those that it was, at
    an n that held-out patches do not limit, for a distance at the n of a paper; the report warns that such results
    reward a model that memorizes."""
    batch: int = Field(32, ge=1)
    """Images per batch of the extractor."""
    grid: int = Field(24, ge=1)
    """Images shown in the report per label, for real and synthetic patches each."""
    sections: tuple[Literal["color", "morphology", "memorization", "label_check", "feature_map"], ...] = Field(
        ("color", "morphology", "memorization", "label_check", "feature_map"), strict=False
    )
    """Sections of the report besides the main results: color drift, nuclei, copies of training patches, recognition of
    the label and usefulness of the samples, and a map of the features. Omit sections that take too long."""
