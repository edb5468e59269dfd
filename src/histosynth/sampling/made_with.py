"""What decides the images of a store of synthetic patches. Called again, only the same may go on with it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST, read_manifest
from histosynth.store.part import part_fingerprint
from histosynth.store.store import KIND, list_parts

MadeWith = Mapping[str, object]


def sha256_of(path: Path) -> str:
    """Of a file, such as one of weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare_store(out: Path, made_with: MadeWith) -> None:
    """Make the directory, or see that what is in it was made the same way.

    Raises:
        HistosynthError: it holds something else, or patches made otherwise.
    """
    parts = list_parts(out)
    if (out / MANIFEST).exists():
        before = read_manifest(out, kind=KIND).get("made_with", {})
        for key, value in made_with.items():
            if before.get(key) != value:
                told = "other edits" if key == "edits" else f"samples made with {key} = {before.get(key)}, not {value}"
                raise HistosynthError(f"{out} holds {told}; give --out a new directory")
    elif any(part_fingerprint(part) != str(made_with) for part in parts):
        raise HistosynthError(
            f"{out} holds unfinished samples of another model or other settings; give --out a new directory"
        )
    out.mkdir(parents=True, exist_ok=True)
