"""Settings of what is trained: the network, the diffusion process, or the progressive GAN."""

from typing import Literal, Self

from pydantic import Field, model_validator

from histosynth.config.section import Section, Sizes


class ModelSettings(Section):
    """The network: what is not `kind` describes the U-Net of Dhariwal & Nichol (2021), `[gan]` the progressive GAN.
    Image size and number of labels come from the store."""

    kind: Literal["unet", "progan"] = "unet"
    """`unet`: a diffusion model. `progan`: the baseline, a progressive GAN with a projection discriminator."""
    channels: int = Field(128, ge=8)
    """Channels of the first level."""
    channel_mult: Sizes = Field((1, 1, 2, 3, 4), min_length=1, strict=False)
    """Channels of each level, as multiples of `channels`."""
    blocks: int = Field(2, ge=1)
    """Residual blocks a level."""
    attention_px: Sizes = Field((32, 16, 8), strict=False)
    """Feature-map sides at which attention acts."""
    heads: int = Field(4, ge=1)
    """Attention heads, where `head_channels` is 0."""
    head_channels: int = Field(0, ge=0)
    """Channels a head; 0 leaves it to `heads`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the residual blocks."""
    stem: int = Field(1, ge=1)
    """Side of the pixel block folded into channels before the first convolution (1: none)."""
    checkpoint: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""


APPLIES_TO = {
    **dict.fromkeys(("schedule", "zero_terminal_snr", "timesteps", "prediction", "variance"), "ddpm"),
    **dict.fromkeys(("weighting", "p2_k", "p2_gamma", "min_snr_gamma"), "ddpm"),
    **dict.fromkeys(("sigma_data", "log_sigma_mean", "log_sigma_std"), "edm"),
    "flow_time": "flow",
}
"""Settings of `DiffusionSettings` that one process alone heeds."""


class DiffusionSettings(Section):
    """The process and what the network learns of it."""

    process: Literal["ddpm", "edm", "flow"] = "edm"
    """`edm`: continuous sigma, preconditioned (Karras et al. 2022); keeps its colors. `ddpm`: discrete time (Ho et al.
    2020), as in the paper. `flow`: a straight path from data to noise, the network predicts its velocity (rectified
    flow, Liu et al. 2022)."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule of `ddpm`."""
    zero_terminal_snr: bool = False
    """Rescale the schedule of `ddpm` so that no signal is left at its last timestep (Lin et al. 2024), where sampling
    begins. The noise tells nothing of the image there, so it needs `prediction` `v` or `x0`; and `p2` and `min_snr`
    weigh that timestep 0, `uniform` does not."""
    timesteps: int = Field(1000, ge=2)
    """Number of training timesteps of `ddpm`."""
    prediction: Literal["epsilon", "x0", "v"] = "epsilon"
    """What the network of `ddpm` predicts: the noise, the clean image, or the velocity between the two (Salimans & Ho
    2022). `p2` and `min_snr` weigh the same error alike whichever it is."""
    variance: Literal["small", "large", "learned"] = "small"
    """Variance of a `ddpm` sampler's step: that of the posterior, that of the forward step, or `learned` between the
    two by three more channels and the hybrid loss (Nichol & Dhariwal 2021)."""
    weighting: Literal["p2", "min_snr", "uniform"] = "p2"
    """Loss weights of `ddpm`: `p2` (Choi et al. 2022), `min_snr` (Hang et al. 2023), or `uniform`, the plain mean
    square error of what the network predicts. `edm` has its own, `flow` none."""
    p2_k: float = Field(1.0, gt=0)
    """k of the P2 weighting."""
    p2_gamma: float = Field(0.5, ge=0)
    """Gamma of the P2 weighting; 0 switches it off."""
    min_snr_gamma: float = Field(5.0, gt=0)
    """Gamma of the min-SNR weighting: the signal-to-noise ratio at which the weight of the clean image's error ends."""
    sigma_data: float = Field(0.5, gt=0)
    """Standard deviation of the pixels in [-1, 1], for `edm`."""
    log_sigma_mean: float = -1.2
    """Mean of log sigma in training, for `edm`."""
    log_sigma_std: float = Field(1.2, gt=0)
    """Standard deviation of log sigma in training, for `edm`."""
    flow_time: Literal["uniform", "logit_normal"] = "logit_normal"
    """Times in training, for `flow`: `uniform`, or most in the middle of the path (Esser et al. 2024)."""

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """What another process alone heeds must be left at its default, else it would be passed over in silence."""
        for name, given, default in self.non_default(APPLIES_TO):
            if APPLIES_TO[name] != self.process:
                raise ValueError(
                    f"process '{self.process}' does not heed {name} = {given}; set "
                    f"diffusion.process={APPLIES_TO[name]}, or diffusion.{name}={default}"
                )
        return self


LOSS_APPLIES_TO = {**dict.fromkeys(("gp_lambda", "drift"), "wgan_gp"), "r1_gamma": "r1"}
"""Settings of `GanSettings` that one loss alone heeds."""


class GanSettings(Section):
    """The progressive GAN (`model.kind = "progan"`): Karras et al. 2018, told the label as Miyato & Koyama 2018 do."""

    latent: int = Field(512, ge=1)
    """Size of the latent."""
    width: int = Field(512, ge=1)
    """Channels of the small levels."""
    full_width_px: int = Field(32, ge=4)
    """Side up to which levels have `width` channels; above it they are halved with every doubling."""
    stable_images: int = Field(600_000, ge=1)
    """Images on which each level trains once it is there in full: 4 px first, then twice the side each time."""
    fade_images: int = Field(600_000, ge=0)
    """Images over which each level but the first is faded in; 0: at once."""
    loss: Literal["wgan_gp", "r1"] = "wgan_gp"
    """`wgan_gp`: Wasserstein with gradient penalty (Gulrajani et al. 2017). `r1`: non-saturating with a penalty on the
    slope at real images (Mescheder et al. 2018)."""
    gp_lambda: float = Field(10.0, ge=0)
    """Weight of the gradient penalty of `wgan_gp`."""
    drift: float = Field(0.001, ge=0)
    """Weight of the squared scores of real images of `wgan_gp`."""
    r1_gamma: float = Field(10.0, ge=0)
    """Gamma of `r1`: half of it weighs the squared slope."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam (betas 0 and 0.99) of both networks; its moments begin anew with each level."""
    ema_halflife: int = Field(11_000, ge=1)
    """Half-life of the averaged generator, in images; a tenth of the images seen where that is less. 11,000 is the
    0.999 a step of Karras et al. at a batch of 16."""

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """See `DiffusionSettings`."""
        for name, given, default in self.non_default(LOSS_APPLIES_TO):
            if LOSS_APPLIES_TO[name] != self.loss:
                raise ValueError(
                    f"loss '{self.loss}' does not heed {name} = {given}; set gan.loss={LOSS_APPLIES_TO[name]}, or "
                    f"gan.{name}={default}"
                )
        return self
