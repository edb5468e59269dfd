"""Encoders of other packages: DINOv2 and CLIP from torch-fidelity, and all models of timm, pathology encoders included.

They need `pip install 'histosynth[encoders]'`, and download their weights at first use unless a file is passed. Weights
are identified by the SHA-256 of their loaded values, since each package stores its files differently.

    dinov2         ViT-L/14 (Oquab et al. 2024), which Stein et al. 2023 recommend instead of Inception
    clip           ViT-B/32 (Radford et al. 2021), as in Kynkäänniemi et al. 2023
    timm:NAME      a model of timm, such as `timm:resnet50.a1_in1k`
    hf-hub:NAME    a timm model of the Hugging Face hub, such as `hf-hub:MahmoodLab/UNI2-h` (request access there first)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat
from torch import Tensor

from histosynth.errors import HistosynthError
from histosynth.json_files import check
from histosynth.metrics.extractors import FEATURES
from histosynth.metrics.extractors.loading import resolve_device, run_in_chunks, state_sha256

_CPU_CHUNK = 8
_Side = Annotated[int, Field(ge=1, le=2048)]
_Positive = Annotated[FiniteFloat, Field(gt=0)]
_OFFLINE = "without internet access, pass its weights to --weights"
_EXAMPLES = {"timm": "timm:resnet50.a1_in1k", "hf-hub": "hf-hub:MahmoodLab/UNI2-h"}
_FIDELITY = {"dinov2": ("dinov2-vit-l-14", "DINOv2 ViT-L/14"), "clip": ("clip-vit-b-32", "CLIP ViT-B/32")}
_SWIGLU = {"mlp_layer": "timm.layers.SwiGLUPacked", "act_layer": "torch.nn.SiLU"}
HUB_ARGUMENTS: dict[str, dict[str, Any]] = {  # arguments for these models, from their model cards
    "MahmoodLab/UNI": {"init_values": 1e-5, "dynamic_img_size": True},
    "MahmoodLab/UNI2-h": {
        "img_size": 224, "patch_size": 14, "depth": 24, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536,
        "mlp_ratio": 2.66667 * 2, "no_embed_class": True, "reg_tokens": 8, "dynamic_img_size": True, **_SWIGLU,
    },
    "bioptimus/H-optimus-0": {"init_values": 1e-5, "dynamic_img_size": False},
    "paige-ai/Virchow2": _SWIGLU,
}  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """Network of another package as a feature extractor."""

    name: str
    title: str
    dimension: int
    weights_sha256: str
    preprocessing: str
    device: torch.device
    network: Callable[[Tensor], Tensor]
    """(N, 3, H, W) float32 in [0, 255] to (N, `dimension`), preprocessing included."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn (N, H, W, 3) images in [0, 255] into (N, `dimension`) features."""
        outputs = run_in_chunks(lambda x: {FEATURES: self.network(x)}, images, device=self.device, cpu_chunk=_CPU_CHUNK)
        return outputs[FEATURES]


def from_torch_fidelity(name: str, *, device: str | None, weights: Path | None) -> Encoder:
    """Build the encoder `dinov2` or `clip`. torch-fidelity loads `dinov2` from PyTorch's hub only, code and weights.

    Raises:
        HistosynthError: torch-fidelity is not installed, its weights are not available, or there is no such device.
    """
    target, (registered, title) = resolve_device(device), _FIDELITY[name]
    if name == "dinov2" and weights:
        raise HistosynthError(
            f"--weights {weights}: torch-fidelity accepts no weights file for dinov2; "
            "try --extractor timm:vit_large_patch14_dinov2.lvd142m with that model's file"
        )
    package = _package(f"torch_fidelity.feature_extractor_{name}")
    build = {"dinov2": "FeatureExtractorDinoV2", "clip": "FeatureExtractorCLIP"}[name]
    remedy = "PyTorch's hub needs internet access once" if name == "dinov2" else _OFFLINE
    with _one_line_errors(name, remedy=remedy):
        model = getattr(package, build)(registered, [name], feature_extractor_weights_path=weights and str(weights))
    model.to(target).eval()
    return Encoder(
        name=name,
        title=title,
        dimension=_dimension(lambda x: model(x)[0], torch.zeros(1, 3, 224, 224, dtype=torch.uint8, device=target)),
        weights_sha256=state_sha256(model.state_dict()),
        preprocessing="bilinear to 224 x 224 px as in TensorFlow 1 (corners aligned, no antialiasing) in float32, not "
        f"rounded; normalized as {title} was trained",
        device=target,
        network=lambda x: model(x.to(torch.uint8))[0],
    )


class _Preprocessing(BaseModel):
    """The preprocessing that timm states for a network, from a file where a copy of a repository is passed."""

    input_size: tuple[Literal[3], _Side, _Side]
    interpolation: str
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[_Positive, _Positive, _Positive]


def from_timm(model: str, *, source: str, device: str | None, weights: Path | None) -> Encoder:
    """Build the encoder `timm:MODEL` or `hf-hub:MODEL`; its features are those before the classifier.

    The whole patch is resized, without cropping. If a model returns all its tokens (Virchow2), features are the class
    token concatenated with the mean of the patch tokens, as its authors recommend.

    Args:
        model: name in timm, or repository on the hub.
        source: `timm` or `hf-hub`.
        device: where it runs (`None`: a GPU if available, else the CPU).
        weights: for `timm`, a state dict (.safetensors, or from `torch.save`); for `hf-hub`, a copy of the repository.

    Raises:
        HistosynthError: timm is not installed or has no such model, or the weights are not available or do not match.
    """
    target, name = resolve_device(device), f"{source}:{model}"
    if not model:
        raise HistosynthError(f"--extractor {name}: add the name of a model, such as {_EXAMPLES[source]}")
    # Build the network and load its weights.
    timm = _package("timm")
    with _one_line_errors(name, remedy=_OFFLINE):
        if source == "timm":
            network: Any = timm.create_model(model, pretrained=weights is None, num_classes=0)
            if weights:
                _load(network, weights)
        else:
            arguments = {key: _value(value) for key, value in HUB_ARGUMENTS.get(model, {}).items()}
            location = f"local-dir:{weights}" if weights else name
            network = timm.create_model(location, pretrained=True, num_classes=0, **arguments)
    network.to(target).eval()
    # Preprocess like its training, but without cropping.
    with _one_line_errors(name, remedy=_OFFLINE):
        content = timm.data.resolve_model_data_config(network)
    config = check(
        content, _Preprocessing, where=f"the configuration of {name}", fix="pass an intact copy to --weights"
    )
    size, mode = config.input_size[1:], config.interpolation
    mode = mode if mode in ("bilinear", "bicubic") else "bicubic"
    mean, std = (255 * torch.tensor(values, device=target)[:, None, None] for values in (config.mean, config.std))

    def run(x: Tensor) -> Tensor:
        x = torch.nn.functional.interpolate(x, size, mode=mode, antialias=True)
        x = network((x - mean) / std)
        return x if x.ndim == 2 else torch.cat([x[:, 0], x[:, network.num_prefix_tokens :].mean(1)], 1)

    with _one_line_errors(name, remedy=_OFFLINE):
        dimension = _dimension(run, torch.zeros(1, 3, *size, device=target))
    return Encoder(
        name=name,
        title=model,
        dimension=dimension,
        weights_sha256=state_sha256(network.state_dict()),
        preprocessing=f"antialiased {mode} to {size[0]} x {size[1]} px in float32, neither rounded nor clipped nor "
        f"cropped; (value / 255 - {config.mean}) / {config.std}",
        device=target,
        network=run,
    )


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise HistosynthError(f"{name.split('.')[0]} is not installed; pip install 'histosynth[encoders]'") from error


def _value(value: Any) -> Any:
    """Return the class with this dotted name; any other value unchanged."""
    if isinstance(value, str):
        module, _, attribute = value.rpartition(".")
        return getattr(import_module(module), attribute)
    return value


@contextmanager
def _one_line_errors(name: str, *, remedy: str) -> Iterator[None]:
    """Turn any error of another package into one line."""
    try:
        yield
    except HistosynthError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise HistosynthError(f"--extractor {name} cannot be loaded ({reason}); {remedy}") from error


def _load(network: Any, path: Path) -> None:
    """Load a state dict, which must hold the whole network, and nothing else except a classifier."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state.get("model", state))
    mismatch = network.load_state_dict(state, strict=False)
    classifier = network.pretrained_cfg.get("classifier") or "head"
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    unexpected = [key for key in mismatch.unexpected_keys if not key.startswith(heads)]
    for problem, keys in (("the file lacks", mismatch.missing_keys), ("the network does not have", unexpected)):
        if keys:
            raise HistosynthError(
                f"--weights {path}: {problem} {keys[0]} and {len(keys) - 1} more; pass the weights of this model"
            )


@torch.inference_mode()
def _dimension(network: Callable[[Tensor], Tensor], blank: Tensor) -> int:
    return int(network(blank).shape[1])
