"""The log of a run: one line of JSON per logged step in `stats.jsonl`, and the same values to Accelerate's trackers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from histosynth.config import Settings
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.json_files import check, parse_json, read_text
from histosynth.rundir import write_text
from histosynth.training.writer import warn_if_unwritten

if TYPE_CHECKING:
    from accelerate import Accelerator

_PROJECT = "histosynth"


class _Line(BaseModel):
    """A line of `stats.jsonl`. Other values, such as the norm of the gradient, are numbers that may be infinite."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float] = Field(init=False)

    images: int = Field(ge=0, le=10**15)
    loss: float = Field(ge=-1e100, le=1e100)
    lr: float = Field(ge=0, le=1e100)
    images_per_second: float = Field(0.0, ge=0, le=1e15)


class Log:
    """The log of a run, opened for appending by the main process.

    Args:
        directory: the run.
        images: images seen at the start; later lines of an interrupted process are dropped.
        accelerator: has the trackers.
        settings: settings to pass to the trackers.
    """

    def __init__(self, directory: Path, *, images: int, accelerator: "Accelerator", settings: Settings) -> None:
        path = directory / "stats.jsonl"
        kept = [line for line in read_stats(directory) if line["images"] <= images]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._accelerator = accelerator
        name = {"name": directory.resolve().name}
        accelerator.init_trackers(_PROJECT, init_kwargs={"tensorboard": {"purge_step": images}, "wandb": name})
        for tracker in accelerator.trackers:
            if tracker.name != "tensorboard":  # TensorBoard would start a separate log for them
                tracker.store_init_configuration(_flat(settings))

    def write(self, images: int, values: dict[str, float]) -> None:
        """Log `values` after `images` images."""
        with warn_if_unwritten("a line of the log"):
            self._file.write(json.dumps({"images": images, **values}) + "\n")
            self._file.flush()
            self._accelerator.log(values, step=images)

    def close(self) -> None:
        """Write buffered values and close the files."""
        with warn_if_unwritten("the end of the log"):
            self._file.close()
            for tracker in self._accelerator.trackers:
                tracker.finish()


def read_stats(directory: Path) -> list[dict[str, Any]]:
    """Read the lines of `stats.jsonl`, except an incomplete last line of a killed process.

    Raises:
        HistosynthError: a complete line is not one that `Log` writes.
    """
    path = directory / "stats.jsonl"
    complete = read_text(path).split("\n")[:-1] if path.is_file() else []
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(complete, start=1):
        where, fix = f"{path}, line {number}", "delete this line and those after it"
        values = parse_json(line, where=where, fix=fix)
        check(values, _Line, where=where, fix=fix)
        lines.append(values)
    return lines


def check_trackers(names: Sequence[str]) -> list[str]:
    """Return the usable ones of `train.trackers`; TensorBoard, the default, may be absent.

    Raises:
        HistosynthError: Accelerate has no such tracker, or its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known, installed = sorted(map(str, LOGGER_TYPE_TO_CLASS)), [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise HistosynthError(
                f"train.trackers: no tracker '{name}'{did_you_mean(name, known)}; the trackers are {', '.join(known)}"
            )
        if name not in installed and name != "tensorboard":
            raise HistosynthError(f"train.trackers: '{name}' needs a package that is not installed; pip install {name}")
    return [name for name in names if name in installed]


def _flat(settings: Settings) -> dict[str, str | float]:
    sections = settings.model_dump(include={"model", "diffusion", "train"})
    return {
        f"{section}.{key}": value if isinstance(value, int | float) else str(value)
        for section, values in sections.items()
        for key, value in values.items()
    }
