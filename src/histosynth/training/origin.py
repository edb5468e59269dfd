"""The origin of a weights file: everything that sampling needs to know, in the metadata of the file.

safetensors orders several metadata keys at random, so the origin is one key with sorted JSON: equal trainings write
equal bytes. Others may have changed the file, so its origin is checked, and its run is a plain name, never a path.
"""

import json
from pathlib import Path
from typing import Annotated

import safetensors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.json_files import first_problem
from histosynth.store.source import check_generator

KEY = "histosynth.origin"
_MAX_NUMBER = 10**15
Name = Annotated[str, Field(min_length=1, max_length=1000)]


class Origin(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    settings: Settings
    labels: list[Name] = Field(min_length=1, max_length=10_000)
    image_px: int = Field(ge=1, le=4096)
    mpp: float | None = Field(gt=0)
    run: str = Field(max_length=255)
    images: int = Field(ge=0, le=_MAX_NUMBER)
    data_hash: str

    @field_validator("labels")
    @classmethod
    def _reject_duplicates(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a label is listed twice")
        return value

    def label_index(self, label: str) -> int:
        """Return the index of a label.

        Raises:
            HistosynthError: the model was not trained on it.
        """
        if label not in self.labels:
            raise HistosynthError(f"the model knows no label '{label}'; it was trained on {', '.join(self.labels)}")
        return self.labels.index(label)

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a weights file."""
        return {KEY: json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)}


def read_origin(path: Path) -> Origin:
    """Read the origin of a weights file; only its header is read.

    Raises:
        HistosynthError: damaged, or not written by this version of histosynth.
    """
    if not path.is_file():
        raise HistosynthError(f"{path} is not a file; pass a weights file")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise HistosynthError(f"{path} is not a readable safetensors file ({error}); pass a weights file") from error
    if "histosynth.kind" in metadata:
        raise HistosynthError(f"{path} was written by an earlier version of histosynth; train the model again")
    if KEY not in metadata:
        raise HistosynthError(
            f"{path} was not written by `histosynth train`: its metadata names no model; pass a weights file of a run"
        )
    try:
        origin = Origin.model_validate_json(metadata[KEY])
    except ValidationError as error:
        raise HistosynthError(
            f"{path}: the origin in its metadata is damaged ({first_problem(error)}); pass an intact weights file"
        ) from error
    check_generator(origin.run, where=f"the run that {path} names")
    return origin
