"""The Inception features of the Fréchet Inception Distance (Heusel et al. 2017), of sFID and of the Inception Score.

Figures of them compare with published ones at equal numbers of images and equal resizing (Parmar et al. 2022): images
are brought to 299 px as in TensorFlow 1, like those of ADM's evaluator and of torch-fidelity, and stay in float.
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
CPU_CHUNK = 4  # larger ones leave the cache


def weights_path() -> Path:
    """Where PyTorch's hub keeps the weights, and with it torch-fidelity or pytorch-fid; there or not."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    other = folder / _SAME_OF_PYTORCH_FID
    return other if other.is_file() else folder / FILE_NAME


def download_instructions(path: Path) -> str:
    """What to do where the weights are not at `path`."""
    return f"download {URL} to {path}, or name its place with --weights"


class Inception:
    """The Inception network on a device (`None`: a GPU where there is one, else the CPU).

    Its outputs: `features` are pool_3, of the Fréchet distance; `spatial` are 17 x 17 x 7 values of the block 6d, of
    sFID; `logits` are without their bias, as ADM and torch-fidelity take them for the Inception Score.

    Args:
        device: where it runs.
        weights: a file of the weights. Without it, they are those of PyTorch's hub, which downloads them if need be.

    Raises:
        HistosynthError: the weights cannot be had, or are not the expected ones, or there is no such device.
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
        """(N, H, W, 3) images in [0, 255] to (N, 2048) features."""
        return self.activations(images)[FEATURES]

    def activations(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """(N, H, W, 3) images in [0, 255] to their `outputs`, (N, D) each, in one pass."""
        return run_in_chunks(self._run, images, device=self.device, cpu_chunk=CPU_CHUNK)

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        found = self._network((resize(x, size=INPUT_PX) - 128) / 128)
        return {FEATURES: found["2048"], "spatial": found["spatial"], "logits": found["logits_unbiased"]}


def _download(path: Path) -> None:
    """Fetch the weights (96 MB); they take the name `path` once whole and checked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), hash_prefix=WEIGHTS_SHA256)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:80]
        raise HistosynthError(
            f"no Inception weights here, and no download ({reason}); {download_instructions(path)}"
        ) from error
