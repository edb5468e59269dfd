"""Checkpoints: states to resume from, and averaged weights to sample from.

`state/state-<images>.pt` holds weights, averaged weights and the optimizer; training resumes from the newest intact
one. `weights/ema-<images>.safetensors` holds the averaged weights, with settings, labels and origin in its metadata, so
that one file is enough to sample. Beside it may lie weights of other half-lives, `ema<halflife>-<images>.safetensors`,
the best weights by some metric, `best-<images>.safetensors`, and those of a denoiser after a fifth of its training,
`early-<images>.safetensors`, for autoguidance.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from histosynth.diffusion.build import build_classifier, build_denoiser, build_schedule, process_settings
from histosynth.diffusion.denoiser import Denoiser
from histosynth.diffusion.noisy_classifier import NoisyClassifier
from histosynth.errors import HistosynthError
from histosynth.gan.build import build_generator
from histosynth.gan.progan import Generator
from histosynth.rundir import atomic_write
from histosynth.training.load_module import load_module
from histosynth.training.origin import Origin, read_origin
from histosynth.training.saved_states import saved_states, state_path

_WEIGHTS = re.compile(r"ema-[0-9]+\.safetensors", re.ASCII)


def save_state(directory: Path, state: Mapping[str, Any], *, images: int, keep: int = 2) -> None:
    """Write the state after `images` images, and delete all but the newest `keep` states."""
    directory.mkdir(exist_ok=True)
    with atomic_write(state_path(directory, images)) as file:
        torch.save(dict(state), file)
    for old in saved_states(directory)[:-keep]:
        old.unlink()


def newest_state(directory: Path) -> Path | None:
    """Return the newest state whose records all match their checksums; None if no state is intact.

    A damaged state is skipped with a warning that names it.
    """
    for path in reversed(saved_states(directory)):
        try:
            with zipfile.ZipFile(path) as file:  # the format of torch.save, which does not compress
                compressed = any(record.compress_type != zipfile.ZIP_STORED for record in file.infolist())
                damaged = "compressed" if compressed else file.testzip()
            if damaged is None:
                return path
            reason = f"its record {damaged} is damaged"
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            reason = str(error)[:80]
        warnings.warn(f"{path} cannot be read ({reason}); resuming from the state before it", stacklevel=2)
    return None


def load_state(path: Path) -> dict[str, Any]:
    """Load what `save_state` wrote.

    Raises:
        HistosynthError: it holds something else.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, RecursionError) as error:
        raise HistosynthError(
            f"{path} is not a state of a run ({str(error)[:80]}); delete it to resume from the state before it"
        ) from error
    numbers = [state.get(key) for key in ("images", "seconds")] if isinstance(state, dict) else [None]
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
        raise HistosynthError(
            f"{path} does not state its images and seconds; delete it to resume from the state before it"
        )
    return dict(state)


def save_weights(path: Path, weights: Mapping[str, Tensor], origin: Origin) -> None:
    """Write averaged weights with their origin as metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(
            safetensors.torch.save({name: value.contiguous() for name, value in weights.items()}, origin.to_metadata())
        )


def find_weights(path: Path) -> Path:
    """Return the path itself if it is a file, or the newest weights of a run, averaged over its first half-life.

    Raises:
        HistosynthError: the run has no weights.
    """
    if path.is_file():
        return path
    candidates = sorted(file for file in path.glob("weights/ema-*.safetensors") if _WEIGHTS.fullmatch(file.name))
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
    model, diffusion = origin.settings.model, origin.settings.diffusion
    build = partial(build_denoiser, model, diffusion, image_px=origin.image_px, labels=len(origin.labels))
    return load_module(path, build).eval(), origin


def load_generator(path: Path) -> tuple[Generator, Origin]:
    """Build the generator of a weights file and load it, on the CPU, in evaluation mode.

    Raises:
        HistosynthError: see `read_origin`; the weights do not match the settings in the file.
    """
    origin = read_origin(path)
    build = partial(build_generator, origin.settings.gan, image_px=origin.image_px, labels=len(origin.labels))
    return load_module(path, build).eval(), origin


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
    process, labels = build_schedule(settings.diffusion), len(origin.labels)
    build = partial(build_classifier, settings.model, process, image_px=origin.image_px, labels=labels)
    return load_module(path, build).eval().requires_grad_(False)


def _properties_to_match(classifier: Origin, denoiser: Origin) -> Iterator[tuple[str, object, object]]:
    """Yield the properties that must be equal: name, value of the classifier, value of the denoiser."""
    for key in ("labels", "image_px", "mpp"):
        yield key, getattr(classifier, key), getattr(denoiser, key)
    own, needed = process_settings(classifier.settings.diffusion), process_settings(denoiser.settings.diffusion)
    for key in needed:
        yield f"diffusion.{key}", own.get(key), needed[key]
