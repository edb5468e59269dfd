"""Build a denoiser, a classifier of noisy patches or a noise schedule from settings."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from histosynth.config import DiffusionSettings, ModelSettings
from histosynth.diffusion import schedule
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.discrete import DiscreteDenoiser
from histosynth.diffusion.edm import EDMDenoiser
from histosynth.diffusion.flow import FlowDenoiser
from histosynth.diffusion.mixture import Mixture
from histosynth.diffusion.mixture_denoiser import MixtureDenoiser
from histosynth.diffusion.noisy_classifier import NoisyClassifier, UNetEncoder
from histosynth.diffusion.unet import UNet
from histosynth.diffusion.weighting import Weighting, min_snr, p2, uniform
from histosynth.errors import HistosynthError

Network = TypeVar("Network", bound=nn.Module)


def build_denoiser(model: ModelSettings, diffusion: DiffusionSettings, *, image_px: int, labels: int) -> Denoiser:
    """Build the denoiser that the settings describe, with newly initialized weights.

    Args:
        model: the network.
        diffusion: the process and its loss.
        image_px: side of the images.
        labels: number of labels, without the null label.

    Raises:
        HistosynthError: the image side or the attention heads do not fit the network, or the network is to predict
            the noise where the image cannot be computed from it.
    """
    # The schedule and what the network predicts must agree
    zero_snr = diffusion.process == "ddpm" and diffusion.zero_terminal_snr
    if zero_snr and diffusion.prediction == "epsilon":
        raise HistosynthError(
            "diffusion.zero_terminal_snr leaves no signal at the last timestep, where the predicted noise does not "
            "determine the image; set diffusion.prediction=v or x0"
        )
    # The network
    channels = 6 if diffusion.process == "ddpm" and diffusion.variance == "learned" else 3
    seen = 6 if diffusion.mixture else 3  # the posterior mean of the mixture is beside the image
    unet = partial(UNet, in_channels=seen, out_channels=channels)
    network = _build_network(unet, model, image_px=image_px, labels=labels)
    # The process around it
    process = build_schedule(diffusion)
    if isinstance(process, schedule.VarianceExploding) and diffusion.mixture:
        return MixtureDenoiser(
            network,
            process,
            Mixture(image_px=image_px, labels=labels, components=diffusion.mixture),
            whitening=diffusion.whitening,
            sigma_data=diffusion.sigma_data,
            log_sigma_mean=diffusion.log_sigma_mean,
            log_sigma_std=diffusion.log_sigma_std,
            image_px=image_px,
        )
    if isinstance(process, schedule.VarianceExploding):
        return EDMDenoiser(
            network,
            process,
            sigma_data=diffusion.sigma_data,
            log_sigma_mean=diffusion.log_sigma_mean,
            log_sigma_std=diffusion.log_sigma_std,
            image_px=image_px,
        )
    if isinstance(process, schedule.RectifiedFlow):
        return FlowDenoiser(network, process, times=diffusion.flow_time, image_px=image_px)
    weightings: dict[str, Weighting] = {
        "p2": partial(p2, k=diffusion.p2_k, gamma=diffusion.p2_gamma),
        "min_snr": partial(min_snr, gamma=diffusion.min_snr_gamma),
        "uniform": uniform,
    }
    return DiscreteDenoiser(
        network,
        process,
        prediction_type=diffusion.prediction,
        variance=diffusion.variance,
        weighting=weightings[diffusion.weighting],
        image_px=image_px,
    )


def build_classifier(
    model: ModelSettings, process: schedule.Schedule, *, image_px: int, labels: int
) -> NoisyClassifier:
    """Build the classifier that the settings describe, with newly initialized weights.

    Raises:
        HistosynthError: the image side or the attention heads do not fit the network.
    """
    return NoisyClassifier(_build_network(UNetEncoder, model, image_px=image_px, labels=labels), process)


def _build_network(network: Callable[..., Network], model: ModelSettings, *, image_px: int, labels: int) -> Network:
    try:
        return network(
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


def build_schedule(
    diffusion: DiffusionSettings,
) -> schedule.VariancePreserving | schedule.VarianceExploding | schedule.RectifiedFlow:
    """Build the noise schedule of the process."""
    if diffusion.process == "edm":
        return schedule.VarianceExploding()
    if diffusion.process == "flow":
        return schedule.RectifiedFlow()
    with torch.device("cpu"):  # its values are needed even where a network is built without memory
        noise = {"linear": schedule.linear, "cosine": schedule.cosine}[diffusion.schedule](diffusion.timesteps)
        return schedule.zero_terminal_snr(noise) if diffusion.zero_terminal_snr else noise


def process_settings(diffusion: DiffusionSettings) -> dict[str, object]:
    """Return the settings that define the process; a classifier can guide a denoiser with equal ones."""
    ddpm_keys = ["schedule", "timesteps", "zero_terminal_snr"] if diffusion.process == "ddpm" else []
    return {key: getattr(diffusion, key) for key in ["process", *ddpm_keys]}
