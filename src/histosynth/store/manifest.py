"""The manifest of a store: what readers rely on is checked once, when it is read; everything else is free.

A store may come from elsewhere. Names of parts therefore stay inside its directory (or below its URL), and values have
the types that readers expect.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from histosynth.json_files import check, require_json
from histosynth.rundir import MANIFEST, read_manifest

KIND = "patch store"
_PartName = Annotated[str, StringConstraints(pattern=r"^part-[^/\\]*\.parquet$")]


class _Free(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Slide(_Free):
    slide_id: str


class _Manifest(_Free):
    """The values that readers use; each may be absent."""

    files: dict[_PartName, int] = {}
    synthetic: bool = False
    train_split: str | None = None
    made_with: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    staining: dict[str, Any] = {}
    slides: list[_Slide] = []


def read_store_manifest(directory: Path, *, content: str | None = None) -> dict[str, Any]:
    """Read the manifest of a store, from `content` if its text has been read already.

    Raises:
        HistosynthError: it is absent or damaged, a value has another type, or the directory is not a store.
    """
    where, fix = directory / MANIFEST, "make the store again"
    manifest = read_manifest(directory, kind=KIND, content=content)
    check(manifest, _Manifest, where=where, fix=fix)
    require_json(manifest, where=where, fix=fix)  # other manifests and reports quote it
    return manifest
