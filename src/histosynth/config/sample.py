"""Settings of sampling."""

from typing import Literal

from pydantic import Field

from histosynth.config.section import Section


class SampleSettings(Section):
    """`histosynth sample`."""

    sampler: str = "dpmpp_2m"
    """`ddpm`, `ddim`, `dpmpp_2m`, `dpmpp_2m_sde`, `heun`, or a registered one."""
    steps: int = Field(20, ge=1)
    """Steps from noise to image: so many network evaluations, for `heun` twice as many less one."""
    spacing: Literal["angle", "schedule"] = "angle"
    """Noise levels of the steps. `angle`: denser towards the image, for few steps; `schedule`: those of the process."""
    eta: float = Field(0.0, ge=0, le=1)
    """Noise that `ddim` puts back in each step: 0 none, 1 as much as `ddpm`. The other samplers have no such choice."""
    guidance: float = Field(1.0, ge=0)
    """Classifier-free guidance: 1 is the plain conditional model, 0 the unconditional one. Any other costs a second
    evaluation at every noise level that is guided."""
    guidance_low: float = Field(0.0, ge=0)
    """Guide only above this noise level, sigma / alpha (Kynkäänniemi et al. 2024)."""
    guidance_high: float = Field(0.0, ge=0)
    """Guide only up to this noise level, sigma / alpha; 0 sets no such limit."""
    clip: Literal["clamp", "dynamic", "none"] = "clamp"
    """What keeps predicted images in [-1, 1]: `clamp` cuts them off; `dynamic` scales an image down by
    `clip_percentile` of its values where that is beyond 1, for strong guidance (Saharia 2022); `none` nothing."""
    clip_percentile: float = Field(99.5, gt=0, le=100)
    """Percentile of `dynamic`, of the magnitudes of an image's values."""
    classifier: str = ""
    """Run or weights file of a classifier (`train.task = "classifier"`) that guides; empty: none does."""
    classifier_scale: float = Field(1.0, ge=0)
    """Strength of classifier guidance: 1 adds the classifier's gradient as Bayes' rule has it."""
    batch: int = Field(16, ge=1)
    """Images at a time; it changes the speed, never an image."""
