"""Everything that determines the images of a store of synthetic patches; only an equal one may add to the store."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST
from histosynth.store.manifest import read_store_manifest
from histosynth.store.part import part_fingerprint, part_record
from histosynth.store.store import list_parts

MadeWith = Mapping[str, object]
BATCH = "images_per_evaluation"
"""Key of the number of images that the network evaluates at a time (`batch_size`)."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, such as a weights file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_batch(out: Path) -> int | None:
    """Return the number of images per evaluation that a store was begun with; None for a new store."""
    parts = list_parts(out)
    complete = (out / MANIFEST).exists()
    facts = read_store_manifest(out).get("made_with") if complete else part_record(parts[0]) if parts else None
    kept = (facts or {}).get(BATCH)
    return kept if isinstance(kept, int) and kept > 0 else None


@contextmanager
def one_line_if_out_of_memory(images: int) -> Iterator[None]:
    """Turn exhausted memory of a GPU into a message with the remedy.

    Raises:
        HistosynthError: it is exhausted.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise HistosynthError(
            f"out of GPU memory with {images} images per evaluation; stop other programs on the GPU, or set "
            f"sample.batch={max(images // 2, 1)}"
        ) from error


def prepare_store(out: Path, made_with: MadeWith) -> None:
    """Create the directory, or check that its patches were made with the same model and settings.

    Raises:
        HistosynthError: it holds something else, or patches of another model or of other settings.
    """
    parts = list_parts(out)
    if (out / MANIFEST).exists():
        before = read_store_manifest(out).get("made_with") or {}
        for key, value in made_with.items():
            if before.get(key) != value:
                samples = f"samples made with {key} = {before.get(key)}, not {value}"
                raise HistosynthError(
                    f"{out} holds {'other edits' if key == 'edits' else samples}; pass a new directory as --out"
                )
    elif any(part_fingerprint(part) != str(made_with) for part in parts):
        raise HistosynthError(
            f"{out} holds unfinished samples of another model or of other settings; pass a new directory as --out"
        )
    out.mkdir(parents=True, exist_ok=True)
