"""Settings of the model: the network and the diffusion process, or the progressive GAN."""

from typing import Literal, Self

from pydantic import Field, model_validator

from histosynth.config.section import Section, Sizes


class ModelSettings(Section):
    """The network. All settings except `kind` describe the U-Net of Dhariwal & Nichol (2021); `[gan]` describes the
    progressive GAN. Image size and number of labels come from the store."""

    kind: Literal["unet", "progan"] = "unet"
    """`unet`: a diffusion model. `progan`: the baseline, a progressive GAN with a projection discriminator."""
    channels: int = Field(128, ge=8, le=8192)
    """Channels of the first level."""
    channel_mult: Sizes = Field((1, 1, 2, 3, 4), min_length=1, max_length=16, strict=False)
    """Channels of each level, as multiples of `channels`."""
    blocks: int = Field(2, ge=1, le=64)
    """Residual blocks per level."""
    attention_px: Sizes = Field((32, 16, 8), max_length=16, strict=False)
    """Sides of the feature maps with attention."""
    heads: int = Field(4, ge=1)
    """Number of attention heads if `head_channels` is 0."""
    head_channels: int = Field(0, ge=0)
    """Channels per attention head; 0: set by `heads`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the residual blocks."""
    stem: int = Field(1, ge=1, le=64)
    """Side of the pixel block folded into channels before the first convolution (1: none)."""
    checkpoint: bool = False
    """Recompute activations in the backward pass: less memory, one third more time."""


APPLIES_TO = {
    **dict.fromkeys(("schedule", "zero_terminal_snr", "timesteps", "prediction", "variance"), "ddpm"),
    **dict.fromkeys(("weighting", "p2_k", "p2_gamma", "min_snr_gamma"), "ddpm"),
    **dict.fromkeys(("sigma_data", "log_sigma_mean", "log_sigma_std", "mixture", "whitening"), "edm"),
    "flow_time": "flow",
}
"""Setting of `DiffusionSettings` -> the only process that uses it."""


class DiffusionSettings(Section):
    """The diffusion process and the training objective."""

    process: Literal["ddpm", "edm", "flow"] = "edm"
    """`edm`: continuous sigma, preconditioned (Karras et al. 2022); shows the least color drift. `ddpm`: discrete time
    (Ho et al. 2020), as in the paper. `flow`: a straight path from data to noise, whose velocity the network predicts
    (rectified flow, Liu et al. 2022)."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule of `ddpm`."""
    zero_terminal_snr: bool = False
    """Rescale the schedule of `ddpm` so that its last timestep, where sampling starts, contains no signal (Lin et al.
    2024). There the noise does not determine the image, so `prediction` must be `v` or `x0`. At this timestep the
    weight of `p2` and `min_snr` is 0; that of `uniform` is not."""
    timesteps: int = Field(1000, ge=2, le=100_000)
    """Number of training timesteps of `ddpm`."""
    prediction: Literal["epsilon", "x0", "v"] = "epsilon"
    """Quantity that the network of `ddpm` predicts: the noise, the clean image, or the velocity v (Salimans & Ho 2022).
    `p2` and `min_snr` give the same objective for each of them."""
    variance: Literal["small", "large", "learned"] = "small"
    """Variance of a step of the `ddpm` sampler: `small`, that of the posterior; `large`, that of the forward step; or
    `learned` between the two, with three more channels and the hybrid loss (Nichol & Dhariwal 2021)."""
    weighting: Literal["p2", "min_snr", "uniform"] = "p2"
    """Loss weights of `ddpm`: `p2` (Choi et al. 2022), `min_snr` (Hang et al. 2023), or `uniform`, the unweighted mean
    square error of the prediction. `edm` has its own weights, `flow` has none."""
    p2_k: float = Field(1.0, gt=0)
    """k of the P2 weighting."""
    p2_gamma: float = Field(0.5, ge=0)
    """Gamma of the P2 weighting; 0 switches it off."""
    min_snr_gamma: float = Field(5.0, gt=0)
    """Gamma of the min-SNR weighting: the signal-to-noise ratio at which the weight of the error of x0 is capped."""
    sigma_data: float = Field(0.5, gt=0)
    """Standard deviation of the pixels in [-1, 1], for `edm`."""
    log_sigma_mean: float = -1.2
    """Mean of log sigma in training, for `edm`."""
    log_sigma_std: float = Field(1.2, gt=0)
    """Standard deviation of log sigma in training, for `edm`."""
    mixture: int = Field(0, ge=0, le=1024)
    """Gaussians per label of the analytic start of `edm`: a mixture fitted to the training patches, whose exact
    denoiser the network corrects. 64 suit training for minutes or hours; 0: the preconditioning of Karras et al."""
    whitening: float = Field(0.5, ge=0, le=1)
    """With a `mixture`: the power of each frequency's standard deviation that divides its error in the loss. 0: the
    square error of pixels; 1: every frequency counts alike."""
    flow_time: Literal["uniform", "logit_normal"] = "logit_normal"
    """Distribution of the training times of `flow`: `uniform`, or `logit_normal`, which favors the middle of the path
    (Esser et al. 2024)."""

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """Reject settings of another process that differ from their default, instead of ignoring them silently."""
        for name, value, default in self.non_default(APPLIES_TO):
            if APPLIES_TO[name] != self.process:
                raise ValueError(
                    f"process '{self.process}' does not use {name} = {value}; set "
                    f"diffusion.process={APPLIES_TO[name]}, or diffusion.{name}={default}"
                )
        if not self.mixture and self.whitening != (default := type(self).model_fields["whitening"].default):
            raise ValueError(
                f"whitening = {self.whitening} applies to the loss of a mixture, and there is none; set "
                f"diffusion.mixture=64, or diffusion.whitening={default}"
            )
        return self


LOSS_APPLIES_TO = {**dict.fromkeys(("gp_lambda", "drift"), "wgan_gp"), "r1_gamma": "r1"}
"""Setting of `GanSettings` -> the only loss that uses it."""


class GanSettings(Section):
    """The progressive GAN (`model.kind = "progan"`) of Karras et al. 2018, conditional after Miyato & Koyama 2018."""

    latent: int = Field(512, ge=1, le=65_536)
    """Size of the latent."""
    width: int = Field(512, ge=1, le=8192)
    """Channels of the levels up to `full_width_px`."""
    full_width_px: int = Field(32, ge=4)
    """Side up to which levels have `width` channels; above it, each doubling of the side halves the channels."""
    stable_images: int = Field(600_000, ge=1)
    """Images for which each level trains after its fade. The first level has 4 px; each further level doubles the
    side."""
    fade_images: int = Field(600_000, ge=0)
    """Images over which each level after the first is faded in; 0: no fade."""
    loss: Literal["wgan_gp", "r1"] = "wgan_gp"
    """`wgan_gp`: Wasserstein with gradient penalty (Gulrajani et al. 2017). `r1`: non-saturating with a penalty on the
    gradient at real images (Mescheder et al. 2018)."""
    gp_lambda: float = Field(10.0, ge=0)
    """Weight of the gradient penalty of `wgan_gp`."""
    drift: float = Field(0.001, ge=0)
    """Weight of the squared scores of real images in `wgan_gp`."""
    r1_gamma: float = Field(10.0, ge=0)
    """Gamma of `r1`; the weight of the squared gradient norm is gamma / 2."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam (betas 0 and 0.99) of both networks; its moments are reset at each new level."""
    ema_halflife: int = Field(11_000, ge=1)
    """Half-life of the averaged generator, in images, limited to one tenth of the images seen. 11,000 corresponds to
    0.999 per step of Karras et al. at a batch of 16."""

    @model_validator(mode="after")
    def _reject_unused_settings(self) -> Self:
        """Reject settings of the other loss; see `DiffusionSettings`."""
        for name, value, default in self.non_default(LOSS_APPLIES_TO):
            if LOSS_APPLIES_TO[name] != self.loss:
                raise ValueError(
                    f"loss '{self.loss}' does not use {name} = {value}; set gan.loss={LOSS_APPLIES_TO[name]}, or "
                    f"gan.{name}={default}"
                )
        return self
