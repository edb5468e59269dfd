"""What training leaves behind: states to resume from, and averaged weights to sample from.

`state/state-<images>.pt` holds weights, averaged weights and the optimizer; the newest whole one wins. `weights/
ema-<images>.safetensors` holds the averaged weights; settings, labels and origin ride in its metadata, so that one file
is enough to sample. Beside it may lie those of other half-lives, `ema<halflife>-<images>.safetensors`, and the best by
some figure, `best-<images>.safetensors`.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from histosynth.config import Settings, settings_from_toml
from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule, process_settings
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.noisy_classifier import NoisyClassifier
from histosynth.errors import HistosynthError
from histosynth.gan.build import build_generator
from histosynth.gan.progan import Generator
from histosynth.rundir import atomic_write


def save_state(directory: Path, state: Mapping[str, Any], *, images: int, keep: int = 2) -> None:
    """Write the state after `images` images, and delete all but the newest `keep`."""
    directory.mkdir(exist_ok=True)
    with atomic_write(directory / f"state-{images:012d}.pt") as file:
        torch.save(dict(state), file)
    for old in _states(directory)[:-keep]:
        old.unlink()


def newest_state(directory: Path) -> Path | None:
    """The newest state that is whole, to the checksum of its every record; None if there is none.

    A damaged one is skipped with a warning that names it.
    """
    for path in reversed(_states(directory)):
        try:
            with zipfile.ZipFile(path) as file:  # which is what torch.save writes
                torn = file.testzip()
            if torn is None:
                return path
            reason = f"{torn} in it is damaged"
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            reason = str(error)[:80]
        warnings.warn(f"{path} cannot be read ({reason}); going back to the one before", stacklevel=2)
    return None


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _states(directory: Path) -> list[Path]:
    """The states, oldest first."""
    return sorted(directory.glob("state-*.pt"), key=lambda path: int(path.stem.removeprefix("state-")))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a weights file says of itself.

    Attributes:
        settings: all settings of its training.
        labels: names of the labels, in the order of their numbers.
        image_px: side of the images.
        mpp: microns per pixel of the images, None if not known.
        run: the run that made it, as synthetic patches name it.
        images: images seen.
        data_hash: content hash of the store trained on.
    """

    settings: Settings
    labels: list[str]
    image_px: int
    mpp: float | None
    run: str
    images: int
    data_hash: str

    def label_index(self, label: str) -> int:
        """The number of a label.

        Raises:
            HistosynthError: the model does not know it.
        """
        if label not in self.labels:
            raise HistosynthError(f"the model knows no label '{label}'; it was trained on {', '.join(self.labels)}")
        return self.labels.index(label)


def save_weights(path: Path, weights: Mapping[str, Tensor], origin: Origin) -> None:
    """Write averaged weights with their origin."""
    facts = {"labels": origin.labels, "image_px": origin.image_px, "mpp": origin.mpp, "run": origin.run}
    facts |= {"images": origin.images, "data_hash": origin.data_hash, "train_split": origin.settings.train.split}
    metadata = {
        f"histosynth.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()
    }
    metadata |= {"histosynth.kind": origin.settings.model_role, "histosynth.config": origin.settings.to_toml()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(safetensors.torch.save({name: value.contiguous() for name, value in weights.items()}, metadata))


def find_weights(path: Path) -> Path:
    """The weights file itself, or the newest of a run, averaged over the first half-life.

    Raises:
        HistosynthError: there is none.
    """
    if path.is_file():
        return path
    found = sorted(path.glob("weights/ema-*.safetensors"))
    if not found:
        raise HistosynthError(f"{path} has no weights; give a run that has trained, or a .safetensors file of one")
    return found[-1]


def read_origin(path: Path) -> Origin:
    """What a weights file says of itself; reads its header alone.

    Raises:
        HistosynthError: damaged, or not written by histosynth.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise HistosynthError(f"{path} is no readable safetensors file ({error})") from error
    if metadata.get("histosynth.kind") not in ("denoiser", "classifier", "generator"):
        raise HistosynthError(f"{path} was not written by `histosynth train`: its metadata names no model")
    return Origin(
        settings=settings_from_toml(metadata["histosynth.config"], where=f"settings inside {path}"),
        labels=json.loads(metadata["histosynth.labels"]),
        image_px=json.loads(metadata["histosynth.image_px"]),
        mpp=json.loads(metadata["histosynth.mpp"]),
        run=metadata["histosynth.run"],
        images=json.loads(metadata["histosynth.images"]),
        data_hash=metadata["histosynth.data_hash"],
    )


_OTHER_KINDS = {
    "classifier": "a classifier, which makes no images; give it to `sample --classifier`",
    "generator": "a progan, which draws new patches and edits none; give a run of a diffusion model",
}


def load_denoiser(path: Path) -> tuple[Denoiser, Origin]:
    """Build the model of a weights file and load it, on the CPU, in evaluation mode.

    Raises:
        HistosynthError: see `read_origin`; or the weights do not fit the settings beside them.
    """
    origin = read_origin(path)
    if origin.settings.model_role != "denoiser":
        raise HistosynthError(f"{path} holds {_OTHER_KINDS[origin.settings.model_role]}")
    denoiser = build_denoiser(
        origin.settings.model, origin.settings.diffusion, image_px=origin.image_px, labels=len(origin.labels)
    )
    _load(denoiser, path)
    return denoiser.eval(), origin


def load_generator(path: Path) -> tuple[Generator, Origin]:
    """Build the generator of a weights file and load it, on the CPU, in evaluation mode.

    Raises:
        HistosynthError: see `read_origin`; or the weights do not fit the settings beside them.
    """
    origin = read_origin(path)
    generator = build_generator(origin.settings.gan, image_px=origin.image_px, labels=len(origin.labels))
    _load(generator, path)
    return generator.eval(), origin


def load_classifier(path: Path, *, guides: Origin) -> NoisyClassifier:
    """Build the classifier of a weights file and load it, on the CPU, in evaluation mode.

    Args:
        path: the weights.
        guides: the denoiser that it is to guide.

    Raises:
        HistosynthError: see `read_origin`; or it is no classifier, or does not fit the denoiser.
    """
    origin = read_origin(path)
    if origin.settings.model_role != "classifier":
        raise HistosynthError(
            f"{path} holds a {origin.settings.model_role}, not a classifier; train one with --set train.task=classifier"
        )
    for key, own, needed in _fit(origin, guides):
        if own != needed:
            raise HistosynthError(
                f"classifier {path} does not fit the denoiser of run '{guides.run}': its {key} is {own}, not {needed}"
            )
    settings = origin.settings
    classifier = build_classifier(
        settings.model, build_schedule(settings.diffusion), image_px=origin.image_px, labels=len(origin.labels)
    )
    _load(classifier, path)
    return classifier.eval().requires_grad_(False)


def _fit(classifier: Origin, denoiser: Origin) -> Iterator[tuple[str, object, object]]:
    """What must be equal, so that the one can guide the other: name, the classifier's, the denoiser's."""
    for key in ("labels", "image_px", "mpp"):
        yield key, getattr(classifier, key), getattr(denoiser, key)
    own, needed = process_settings(classifier.settings.diffusion), process_settings(denoiser.settings.diffusion)
    for key in needed:
        yield f"diffusion.{key}", own.get(key), needed[key]


def _load(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise HistosynthError(f"{path}: weights do not fit the settings stored beside them ({reason})") from error
