"""Inception network of the Fréchet Inception Distance: TensorFlow's of December 2015, in PyTorch.

Inception-v3 (Szegedy et al. 2016) as Heusel et al. 2017 used it. Unlike later versions, it has 1008 logits, means that
exclude padding, and a maximum instead of the mean in the last block. The weights have the layout that pytorch-fid and
torch-fidelity share. Two identities make it faster and change only the last digits:

    batch normalization is affine:  γ (w∗x - μ) / σ + β = (γw/σ) ∗ x + (β - γμ/σ), a convolution with a bias
    a 1x1 convolution and a mean over pixels commute, so all 1x1 convolutions of a block's input become one
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

SPATIAL_CHANNELS = 7
_EPSILON = 1e-3  # added to the variance
_POOL = "branch_pool"
_A = ("branch1x1", "branch5x5_1", "branch3x3dbl_1", _POOL)
_C = ("branch1x1", "branch7x7_1", "branch7x7dbl_1", _POOL)
_E = ("branch1x1", "branch3x3_1", "branch3x3dbl_1")
_HEADS = {  # the 1x1 convolutions of a block's input, which become one
    **{f"Mixed_5{letter}": _A for letter in "bcd"},
    **{f"Mixed_6{letter}": _C for letter in "bcde"},
    "Mixed_7a": ("branch3x3_1", "branch7x7x3_1"),
    "Mixed_7b": (*_E, _POOL),
    "Mixed_7c": _E,  # its pool is a maximum, which does not commute
}


class InceptionNetwork:
    """Network on a device, with the weights of `state`, a state dict in the layout of torch-fidelity."""

    def __init__(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        names = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
        folded = {name: _fold(state, name) for name in names}
        self._widths: dict[str, list[int]] = {}
        for block, heads in _HEADS.items():
            parts = [folded.pop(f"{block}.{head}") for head in heads]
            self._widths[block] = [len(bias) for _, bias in parts]
            folded[block] = torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])
        self._folded = {
            name: (weight.float().to(device, memory_format=torch.channels_last), bias.float().to(device))
            for name, (weight, bias) in folded.items()
        }
        self._weight, self._bias = (state[f"fc.{name}"].float().to(device) for name in ("weight", "bias"))

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Return the activations of (N, 3, 299, 299) images in [-1, 1] by name.

        `64`, `192`, `768`, `2048` are the channels after the two maximum pools and after blocks 6 and 7, averaged over
        the image; `2048` is pool_3, for the Fréchet distance. `spatial` (N, 17·17·7), for sFID (Nash et al. 2021), are
        the first channels of block 6d, pixel by pixel. `logits_unbiased` and `logits` are (N, 1008).
        """
        activations = {}
        x = self._conv(x.contiguous(memory_format=torch.channels_last), "Conv2d_1a_3x3", stride=2)
        x = self._conv(x, "Conv2d_2a_3x3", padded=False)
        x = F.max_pool2d(self._conv(x, "Conv2d_2b_3x3"), 3, stride=2)
        activations["64"] = x.mean((2, 3))
        x = self._conv(x, "Conv2d_3b_1x1")
        x = F.max_pool2d(self._conv(x, "Conv2d_4a_3x3", padded=False), 3, stride=2)
        activations["192"] = x.mean((2, 3))
        for letter in "bcd":
            x = self._mean_block(x, f"Mixed_5{letter}", {"branch5x5": 2, "branch3x3dbl": 3})
        x = self._halve_35(x)
        for letter in "bcde":
            x = self._mean_block(x, f"Mixed_6{letter}", {"branch7x7": 3, "branch7x7dbl": 5})
            if letter == "d":
                activations["spatial"] = x[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        activations["768"] = x.mean((2, 3))
        x = self._halve_17(x)
        x = self._forked_block(self._forked_block(x, "Mixed_7b"), "Mixed_7c")
        activations["2048"] = x.mean((2, 3))
        activations["logits_unbiased"] = activations["2048"] @ self._weight.T
        activations["logits"] = activations["logits_unbiased"] + self._bias
        return activations

    def _conv(self, x: Tensor, name: str, *, stride: int = 1, padded: bool = True) -> Tensor:
        """Apply a convolution and ReLU; strided convolutions are not padded."""
        weight, bias = self._folded[name]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2) if padded and stride == 1 else (0, 0)
        return F.conv2d(x, weight, bias, stride, padding).relu_()

    def _chain(self, x: Tensor, branch: str, *, last: int, stride: int = 1) -> Tensor:
        """Apply the convolutions `branch_2` … `branch_last`; the stride is that of the last."""
        for i in range(2, last + 1):
            x = self._conv(x, f"{branch}_{i}", stride=stride if i == last else 1)
        return x

    def _heads(self, x: Tensor, block: str) -> list[Tensor]:
        """Apply the 1x1 convolutions of a block to its input, then the mean to that of the pooling branch."""
        heads = list(torch.split(F.conv2d(x, *self._folded[block]), self._widths[block], dim=1))
        if _HEADS[block][-1] == _POOL:
            heads[-1] = F.avg_pool2d(heads[-1], 3, stride=1, padding=1, count_include_pad=False)
        return [head.relu_() for head in heads]

    def _mean_block(self, x: Tensor, block: str, chains: Mapping[str, int]) -> Tensor:
        first, *heads, pooled = self._heads(x, block)
        sides = [
            self._chain(head, f"{block}.{name}", last=chains[name]) for head, name in zip(heads, chains, strict=True)
        ]
        return torch.cat([first, *sides, pooled], 1)

    def _halve_35(self, x: Tensor) -> Tensor:
        """Apply block 6a, from 35 to 17 pixels."""
        double = self._chain(self._conv(x, "Mixed_6a.branch3x3dbl_1"), "Mixed_6a.branch3x3dbl", last=3, stride=2)
        return torch.cat([self._conv(x, "Mixed_6a.branch3x3", stride=2), double, F.max_pool2d(x, 3, stride=2)], 1)

    def _halve_17(self, x: Tensor) -> Tensor:
        """Apply block 7a, from 17 to 8 pixels."""
        three, seven = self._heads(x, "Mixed_7a")
        three = self._chain(three, "Mixed_7a.branch3x3", last=2, stride=2)
        seven = self._chain(seven, "Mixed_7a.branch7x7x3", last=4, stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)

    def _forked_block(self, x: Tensor, block: str) -> Tensor:
        """Apply block 7b or 7c, whose branches end in a row and a column in parallel."""
        first, three, double, *pooled = self._heads(x, block)
        double = self._conv(double, f"{block}.branch3x3dbl_2")
        forks = [self._conv(three, f"{block}.branch3x3_2{end}") for end in "ab"]
        forks += [self._conv(double, f"{block}.branch3x3dbl_3{end}") for end in "ab"]
        pooled = pooled or [self._conv(F.max_pool2d(x, 3, stride=1, padding=1), f"{block}.{_POOL}")]
        return torch.cat([first, *forks, *pooled], 1)


def resize(images: Tensor, *, size: int) -> Tensor:
    """Resize (N, C, H, W) float images to (N, C, size, size) like TensorFlow 1: bilinear, pixel i read at i · H / size.

    There is no half-pixel offset and no antialiasing. It equals aligned corners with the last row and column repeated.
    """
    if images.shape[-2:] == (size, size):
        return images
    longer = F.pad(images, (0, 1, 0, 1), mode="replicate")
    return F.interpolate(longer, size + 1, mode="bilinear", align_corners=True)[..., :size, :size]


def _fold(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution merged with its batch normalization, in float64."""
    weight = state[f"{name}.conv.weight"].double()
    gamma, beta, mean, variance = (
        state[f"{name}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + _EPSILON).sqrt()
    return weight * scale[:, None, None, None], beta - mean * scale
