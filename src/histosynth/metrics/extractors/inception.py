"""Inception features of the Fréchet Inception Distance (Heusel et al. 2017), of sFID and of the Inception Score.

Results are comparable with published ones at equal numbers of images and equal resizing (Parmar et al. 2022): images
are resized to 299 px as in TensorFlow 1, by ADM's evaluator and by torch-fidelity, and remain floating-point.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.metrics.extractors import FEATURES
from histosynth.metrics.extractors.inception_network import InceptionNetwork, resize
from histosynth.metrics.extractors.loading import read_verified_weights, resolve_device, run_in_chunks

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAME}"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INPUT_PX = 299
_SAME_OF_PYTORCH_FID = "pt_inception-2015-12-05-6726825d.pth"
CPU_CHUNK = 4  # larger chunks exceed the cache


def weights_path() -> Path:
    """Return the path of the weights in PyTorch's hub, shared with torch-fidelity or pytorch-fid; it may not exist."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    other = folder / _SAME_OF_PYTORCH_FID
    return other if other.is_file() else folder / FILE_NAME


def download_instructions(path: Path) -> str:
    """Return the remedy if the weights are not at `path`."""
    return f"download {URL} to {path}, or pass its path to --weights"


class Inception:
    """Inception network on a device (`None`: a GPU if available, else the CPU).

    Its outputs: `features` are pool_3, for the Fréchet distance; `spatial` are 17 x 17 x 7 values of block 6d, for
    sFID; `logits` are without their bias, as ADM and torch-fidelity use them for the Inception Score.

    Args:
        device: where it runs.
        weights: weights file; by default the one in PyTorch's hub, downloaded if necessary.

    Raises:
        HistosynthError: the weights are not available or not the expected ones, or there is no such device.
    """

    name = "inception"
    title = "Inception"
    dimension = 2048
    outputs: Mapping[str, int] = {FEATURES: 2048, "spatial": 2023, "logits": 1008}
    preprocessing = (
        "bilinear to 299 x 299 px as in TensorFlow 1 (corners aligned, no antialiasing) in float32, not rounded; "
        "(value - 128) / 128"
    )

    def __init__(self, device: str | None = None, weights: Path | None = None) -> None:
        self.device = resolve_device(device)
        path = weights or weights_path()
        if weights is None and not path.is_file():
            _download(path)
        content = BytesIO(read_verified_weights(path, sha256=WEIGHTS_SHA256, remedy=download_instructions(path)))
        self.weights_sha256 = WEIGHTS_SHA256
        self._network = InceptionNetwork(torch.load(content, map_location="cpu", weights_only=True), device=self.device)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (N, H, W, 3) images in [0, 255] into (N, 2048) features."""
        return self.activations(images)[FEATURES]

    def activations(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Turn (N, H, W, 3) images in [0, 255] into their `outputs`, (N, D) each, in one pass."""
        return run_in_chunks(self._run, images, device=self.device, cpu_chunk=CPU_CHUNK)

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self._network((resize(x, size=INPUT_PX) - 128) / 128)
        return {FEATURES: outputs["2048"], "spatial": outputs["spatial"], "logits": outputs["logits_unbiased"]}


def _download(path: Path) -> None:
    """Download the weights (96 MB); `path` appears only once they are complete and verified."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), hash_prefix=WEIGHTS_SHA256)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:80]
        raise HistosynthError(
            f"the Inception weights are missing and cannot be downloaded ({reason}); {download_instructions(path)}"
        ) from error
