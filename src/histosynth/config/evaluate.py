"""Settings of the evidence."""

from typing import Literal

from pydantic import Field

from histosynth.config.section import Section


class EvaluateSettings(Section):
    """`histosynth evaluate`."""

    extractor: str = "auto"
    """`inception`, `efficientnet-lite0`, `dinov2`, `clip`, `timm:MODEL`, `hf-hub:MODEL`, or a registered one. `auto`:
    `inception` where its weights are given or already here, else `efficientnet-lite0`, which needs no download."""
    weights: str = ""
    """File of the extractor's weights; empty: where the extractor itself keeps them."""
    cache: str = "auto"
    """Directory where features are kept for the next evaluation; `auto`: the user's own cache; `off`: nowhere."""
    neighbors: int = Field(3, ge=1)
    """k of improved precision and recall."""
    batch: int = Field(32, ge=1)
    """Images at a time through the extractor."""
    grid: int = Field(24, ge=1)
    """Images a label and side shown in the report."""
    sections: tuple[Literal["color", "morphology", "memorization", "label_check", "feature_map"], ...] = Field(
        ("color", "morphology", "memorization", "label_check", "feature_map"), strict=False
    )
    """What the report tells beside the main figures: color drift, nuclei, copies of training patches, whether the label
    is recognized and samples are of use, and a map of the features. Leave out what takes too long."""
