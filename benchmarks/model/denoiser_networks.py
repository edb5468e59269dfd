"""Networks compared by `denoiser.py`: histosynth and the U-Nets of four other implementations, of equal size."""

import sys
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from histosynth.diffusion.unet import UNet

LABELS, CHANNELS = 3, 64
MULT = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4)}


class Peer(nn.Module):
    """The network of another implementation, with the interface of ours."""

    null_label = LABELS

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Run the network; see `UNet.forward`."""
        return self.call(self.network, x, time, label)


def histosynth(px: int) -> nn.Module:
    return UNet(
        image_px=px, labels=LABELS, channels=CHANNELS, channel_mult=MULT[px], blocks=1, attention_px=(16, 8), heads=4
    )


def diffusers(px: int) -> nn.Module:
    from diffusers import UNet2DModel

    without_attention = len(MULT[px]) - 2  # levels
    network = UNet2DModel(
        sample_size=px,
        block_out_channels=[CHANNELS * m for m in MULT[px]],
        layers_per_block=1,
        down_block_types=["ResnetDownsampleBlock2D"] * without_attention + ["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2 + ["ResnetUpsampleBlock2D"] * without_attention,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=64,
        num_class_embeds=LABELS + 1,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, class_labels=y).sample)


def denoising_diffusion_pytorch(px: int) -> nn.Module:
    from denoising_diffusion_pytorch import Unet

    return Peer(Unet(dim=72, dim_mults=MULT[px]), lambda network, x, t, y: network(x, t))


def guided_diffusion(px: int) -> nn.Module:
    from guided_diffusion.unet import UNetModel

    network = UNetModel(
        image_size=px,
        in_channels=3,
        model_channels=CHANNELS,
        out_channels=3,
        num_res_blocks=1,
        attention_resolutions=(px // 16, px // 8),
        channel_mult=MULT[px],
        num_classes=LABELS + 1,
        num_heads=4,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, y))


def guided_diffusion_repaired(px: int) -> nn.Module:
    peer = guided_diffusion(px)
    sys.modules["guided_diffusion.unet"].checkpoint = lambda function, inputs, parameters, flag: function(*inputs)
    return peer


def edm(px: int) -> nn.Module:
    from training.networks import DhariwalUNet

    network = DhariwalUNet(
        px,
        3,
        3,
        label_dim=LABELS + 1,
        model_channels=CHANNELS,
        channel_mult=MULT[px],
        num_blocks=1,
        attn_resolutions=[16, 8],
        dropout=0,
    )
    return Peer(network, lambda network, x, t, y: network(x, t, F.one_hot(y, LABELS + 1).float()))


NETWORKS = {
    "histosynth": histosynth,
    "diffusers": diffusers,
    "denoising-diffusion-pytorch": denoising_diffusion_pytorch,
    "guided-diffusion": guided_diffusion,
    "guided-diffusion, repaired": guided_diffusion_repaired,
    "EDM": edm,
}
