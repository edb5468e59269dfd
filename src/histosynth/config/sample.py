"""Settings of sampling."""

from typing import Literal

from pydantic import Field

from histosynth.config.section import Section


class SampleSettings(Section):
    """`histosynth sample`."""

    sampler: str = "dpmpp_2m"
    """Sampler: `ddpm`, `ddim`, `dpmpp_2m`, `dpmpp_2m_sde`, `heun`, or a registered one."""
    steps: int = Field(20, ge=1)
    """Steps from noise to image. Each step costs one network evaluation; `heun` needs twice as many minus one."""
    spacing: Literal["angle", "schedule"] = "angle"
    """Noise levels of the steps. `angle`: denser towards the image, for few steps; `schedule`: those of the process."""
    eta: float = Field(0.0, ge=0, le=1)
    """Noise that `ddim` adds in each step: 0 none, 1 as much as `ddpm`. Other samplers do not use it."""
    guidance: float = Field(1.0, ge=0)
    """Classifier-free guidance: 1 is the conditional model, 0 the unconditional one. Other values cost a second
    evaluation at every guided noise level."""
    guidance_low: float = Field(0.0, ge=0)
    """Guide only above this noise level, sigma / alpha (Kynkäänniemi et al. 2024)."""
    guidance_high: float = Field(0.0, ge=0)
    """Guide only up to this noise level, sigma / alpha; 0: no limit."""
    autoguidance: float = Field(1.0, ge=1)
    """Guidance away from the model's own early weights, which every run of a diffusion model keeps (Karras et al.
    2024): 1 is none, 1.5 is mild, 2 strong. It costs another evaluation at every guided noise level; the limits of
    `guidance` apply."""
    clip: Literal["clamp", "dynamic", "none"] = "clamp"
    """Clipping of predicted images to [-1, 1]: `clamp` clamps values; `dynamic` divides an image by `clip_percentile`
    of its values if that exceeds 1, for strong guidance (Saharia 2022); `none` does not clip."""
    clip_percentile: float = Field(99.5, gt=0, le=100)
    """Percentile of `dynamic`, of the absolute values of an image."""
    classifier: str = ""
    """Run or weights file of a classifier (`train.task = "classifier"`) used for guidance; empty: none."""
    classifier_scale: float = Field(1.0, ge=0)
    """Strength of classifier guidance: 1 adds the gradient of the classifier unscaled, as in Bayes' rule."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Type of the network's matrix products and convolutions; all else is in fp32. `auto` uses bf16 if the device
    supports it natively."""
    batch: int = Field(0, ge=0)
    """Images at a time; 0: as many as fill the device and fit its memory. On a CPU it changes no image; on a GPU an
    image is the same to the last bit only for the same number, which a store records and keeps."""
