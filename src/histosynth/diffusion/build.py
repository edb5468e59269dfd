"""From settings to a denoiser."""

from histosynth.config import DiffusionSettings, ModelSettings
from histosynth.diffusion import schedule
from histosynth.diffusion.denoiser import Denoiser, EDMDenoiser, EpsilonDenoiser
from histosynth.diffusion.unet import UNet
from histosynth.errors import HistosynthError


def build_denoiser(model: ModelSettings, diffusion: DiffusionSettings, *, image_px: int, labels: int) -> Denoiser:
    """The denoiser that the settings describe, with fresh weights.

    Args:
        model: the network.
        diffusion: the process and its loss.
        image_px: side of the images.
        labels: number of labels, without the null label.

    Raises:
        HistosynthError: the network does not fit the image size, or its channels not its heads.
    """
    try:
        network = UNet(
            image_px=image_px,
            labels=labels,
            channels=model.channels,
            channel_mult=model.channel_mult,
            blocks=model.blocks,
            attention_px=model.attention_px,
            heads=model.heads,
            head_channels=model.head_channels,
            dropout=model.dropout,
            stem=model.stem,
            checkpointing=model.checkpoint,
        )
    except ValueError as error:
        raise HistosynthError(f"model settings do not fit {image_px}-px patches: {error}") from error
    if diffusion.process == "edm":
        return EDMDenoiser(
            network,
            schedule.VarianceExploding(),
            sigma_data=diffusion.sigma_data,
            log_sigma_mean=diffusion.log_sigma_mean,
            log_sigma_std=diffusion.log_sigma_std,
        )
    make = {"linear": schedule.linear, "cosine": schedule.cosine}[diffusion.schedule]
    gamma = diffusion.p2_gamma if diffusion.weighting == "p2" else 0.0
    return EpsilonDenoiser(network, make(diffusion.timesteps), k=diffusion.p2_k, gamma=gamma)
