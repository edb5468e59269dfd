"""Checkpoints: states to resume from, and averaged weights to sample from.

`state/state-<images>.pt` holds weights, averaged weights and the optimizer; training resumes from the newest intact
one. `weights/ema-<images>.safetensors` holds the averaged weights, with settings, labels and origin in its metadata, so
that one file is enough to sample. Beside it may lie weights of other half-lives, `ema<halflife>-<images>.safetensors`,
the best weights by some metric, `best-<images>.safetensors`, and those of a denoiser after a fifth of its training,
`early-<images>.safetensors`, for autoguidance.
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
from histosynth.store.source import check_generator


def save_state(directory: Path, state: Mapping[str, Any], *, images: int, keep: int = 2) -> None:
    """Write the state after `images` images, and delete all but the newest `keep` states."""
    directory.mkdir(exist_ok=True)
    with atomic_write(directory / f"state-{images:012d}.pt") as file:
        torch.save(dict(state), file)
    for old in _states(directory)[:-keep]:
        old.unlink()


def newest_state(directory: Path) -> Path | None:
    """Return the newest state whose records all match their checksums; None if no state is intact.

    A damaged state is skipped with a warning that names it.
    """
    for path in reversed(_states(directory)):
        try:
            with zipfile.ZipFile(path) as file:  # the format of torch.save
                damaged = file.testzip()
            if damaged is None:
                return path
            reason = f"its record {damaged} is damaged"
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            reason = str(error)[:80]
        warnings.warn(f"{path} cannot be read ({reason}); resuming from the state before it", stacklevel=2)
    return None


def load_state(path: Path) -> dict[str, Any]:
    """Load what `save_state` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _states(directory: Path) -> list[Path]:
    """Return the paths of the states, oldest first."""
    return sorted(directory.glob("state-*.pt"), key=lambda path: int(path.stem.removeprefix("state-")))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Provenance of a weights file, as its metadata states it.

    Attributes:
        settings: all settings of the training.
        labels: names of the labels, in the order of their indices.
        image_px: side of the images.
        mpp: microns per pixel of the images, None if not known.
        run: name of the run, as synthetic patches record it.
        images: images seen in training.
        data_hash: content hash of the training store.
    """

    settings: Settings
    labels: list[str]
    image_px: int
    mpp: float | None
    run: str
    images: int
    data_hash: str

    def label_index(self, label: str) -> int:
        """Return the index of a label.

        Raises:
            HistosynthError: the model was not trained on it.
        """
        if label not in self.labels:
            raise HistosynthError(f"the model knows no label '{label}'; it was trained on {', '.join(self.labels)}")
        return self.labels.index(label)


def save_weights(path: Path, weights: Mapping[str, Tensor], origin: Origin) -> None:
    """Write averaged weights with their origin as metadata."""
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
    """Return the path itself if it is a file, or the newest weights of a run, averaged over its first half-life.

    Raises:
        HistosynthError: the run has no weights.
    """
    if path.is_file():
        return path
    candidates = sorted(path.glob("weights/ema-*.safetensors"))
    if not candidates:
        raise HistosynthError(f"{path} has no weights; pass a trained run, or one of its .safetensors files")
    return candidates[-1]


def find_early(weights: Path) -> Path:
    """Return the early weights of the run beside its averaged ones.

    Raises:
        HistosynthError: there are none, or they are of another run.
    """
    candidates = sorted(weights.parent.glob("early-*.safetensors"))
    if not candidates:
        raise HistosynthError(
            f"sample.autoguidance needs the early weights of the run, and there is no early-*.safetensors beside "
            f"{weights}; train again (they are kept after a fifth of the images), or set sample.autoguidance=1"
        )
    path = candidates[-1]
    own, early = read_origin(weights), read_origin(path)
    if (early.run, early.data_hash, early.labels) != (own.run, own.data_hash, own.labels):
        raise HistosynthError(f"{path} is of run '{early.run}', not of '{own.run}'; set sample.autoguidance=1")
    return path


def read_origin(path: Path) -> Origin:
    """Read the origin of a weights file; only its header is read.

    Raises:
        HistosynthError: damaged, not written by histosynth, or its run has a name that no generator may have.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise HistosynthError(f"{path} is not a readable safetensors file ({error}); pass a weights file") from error
    if metadata.get("histosynth.kind") not in ("denoiser", "classifier", "generator"):
        raise HistosynthError(
            f"{path} was not written by `histosynth train`: its metadata names no model; pass a weights file of a run"
        )
    return Origin(
        settings=settings_from_toml(metadata["histosynth.config"], where=f"settings inside {path}"),
        labels=json.loads(metadata["histosynth.labels"]),
        image_px=json.loads(metadata["histosynth.image_px"]),
        mpp=json.loads(metadata["histosynth.mpp"]),
        run=check_generator(metadata["histosynth.run"], where=f"the run that {path} names"),
        images=json.loads(metadata["histosynth.images"]),
        data_hash=metadata["histosynth.data_hash"],
    )


_OTHER_KINDS = {
    "classifier": "a classifier, which generates no images; pass it to `sample --classifier`",
    "generator": "a progan, which cannot edit patches; pass a run of a diffusion model",
}


def load_denoiser(path: Path) -> tuple[Denoiser, Origin]:
    """Build the denoiser of a weights file and load it, on the CPU, in evaluation mode.

    Raises:
        HistosynthError: see `read_origin`; the file holds another kind of model; the weights do not match its settings.
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
        HistosynthError: see `read_origin`; the weights do not match the settings in the file.
    """
    origin = read_origin(path)
    generator = build_generator(origin.settings.gan, image_px=origin.image_px, labels=len(origin.labels))
    _load(generator, path)
    return generator.eval(), origin


def load_classifier(path: Path, *, guides: Origin) -> NoisyClassifier:
    """Build the classifier of a weights file and load it, on the CPU, in evaluation mode.

    Args:
        path: the weights.
        guides: origin of the denoiser that it is to guide.

    Raises:
        HistosynthError: see `read_origin`; the file holds no classifier; it does not match the denoiser.
    """
    origin = read_origin(path)
    if origin.settings.model_role != "classifier":
        raise HistosynthError(
            f"{path} holds a {origin.settings.model_role}, not a classifier; train one with --set train.task=classifier"
        )
    for key, own, needed in _properties_to_match(origin, guides):
        if own != needed:
            raise HistosynthError(
                f"classifier {path} does not match the denoiser of run '{guides.run}': its {key} is {own}, not "
                f"{needed}; train a classifier on the same store with the same diffusion settings"
            )
    settings = origin.settings
    classifier = build_classifier(
        settings.model, build_schedule(settings.diffusion), image_px=origin.image_px, labels=len(origin.labels)
    )
    _load(classifier, path)
    return classifier.eval().requires_grad_(False)


def _properties_to_match(classifier: Origin, denoiser: Origin) -> Iterator[tuple[str, object, object]]:
    """Yield the properties that must be equal: name, value of the classifier, value of the denoiser."""
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
        raise HistosynthError(f"{path}: the weights do not match the settings in the file ({reason})") from error
