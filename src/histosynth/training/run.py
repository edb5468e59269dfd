"""The directory of a run, created by the first `train` and checked by every later one."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from histosynth.config import Settings, settings_from_toml
from histosynth.errors import HistosynthError
from histosynth.json_files import check, read_text
from histosynth.rundir import MANIFEST, is_empty, provenance, read_manifest, require_directory, write_json, write_text
from histosynth.store.source import check_generator

KIND = "run"
# Settings that may change between two calls of the same run; all others that training reads must not.
_MAY_CHANGE = {
    "images", "epochs", "hours", "microbatch", "compile", "checkpoint_every", "keep_states", "samples_every",
    "trackers", "frechet_every", "frechet_images", "cache", "cache_gb", "workers",
}  # fmt: skip


class RunManifest(BaseModel):
    """The facts in the manifest of a run on which other commands rely."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    status: Literal["running", "stopped", "finished"]
    images: int = Field(ge=0, le=10**15)
    total_images: int = Field(ge=0, le=10**15)
    labels: list[str]
    image_px: int = Field(ge=1)
    mpp: float | None = Field(gt=0)
    store: str
    data_hash: str


def read_run_manifest(directory: Path) -> RunManifest:
    """Read the manifest of a run.

    Raises:
        HistosynthError: the directory is not a run, or its manifest is damaged.
    """
    return check_run_manifest(directory, read_manifest(directory, kind=KIND))


def check_run_manifest(directory: Path, content: dict[str, Any]) -> RunManifest:
    """Check the content of the manifest of a run; see `read_run_manifest`."""
    return check(content, RunManifest, where=directory / MANIFEST, fix="train again, or restore the file from a backup")


class Run:
    """Directory of a run.

    Args:
        path: the directory, created if absent.
        settings: settings of the training.
        facts: properties of the data (`labels`, `image_px`, `mpp`, `data_hash`, …), written to the manifest.
        total: total number of images to train on.
        main: whether this process writes the directory.

    Raises:
        HistosynthError: no generator may have its name, or the directory holds something else, or a run with other
            settings or other data.
    """

    def __init__(self, path: Path, *, settings: Settings, facts: dict[str, Any], total: int, main: bool = True) -> None:
        self.path, self.settings, self.facts, self.total = path, settings, facts, total
        check_generator(self.name, where=f"--out {path}")
        if not main:
            return
        require_directory(path)
        config = path / "config.toml"
        if config.exists():
            _require_same(path, settings_from_toml(read_text(config), where=str(config)), settings)
        elif not is_empty(path):
            raise HistosynthError(f"{path} exists and is not a run; pass a new or empty directory as --out")
        if (path / MANIFEST).exists():
            manifest = read_run_manifest(path)
            if manifest.data_hash != facts["data_hash"]:
                raise HistosynthError(
                    f"{path} was trained on other patches ({manifest.store}); pass a new directory as --out"
                )
        for folder in ("samples", "figures"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_text(config, settings.to_toml())

    @property
    def name(self) -> str:
        """The name of the run, as synthetic patches record it."""
        return self.path.resolve().name

    def weights(self, images: int, *, halflife: int | None = None) -> Path:
        """Return the path of the averaged weights after `images` images; its name states a half-life but the first."""
        return self.path / "weights" / f"ema{halflife or ''}-{images:010d}.safetensors"

    def write_manifest(self, status: str, *, images: int) -> None:
        """Write the progress of the run; `status` is `running`, `stopped` (by a signal) or `finished`."""
        progress = {"kind": KIND, "status": status, "images": images, "total_images": self.total}
        write_json(self.path / MANIFEST, {**progress, **self.facts, **provenance()})


def _require_same(path: Path, old: Settings, new: Settings) -> None:
    for section in ("model", "diffusion", "gan", "train"):
        before, now = getattr(old, section).model_dump(), getattr(new, section).model_dump()
        for key in before:
            if before[key] != now[key] and not (section == "train" and key in _MAY_CHANGE):
                raise HistosynthError(
                    f"{path} was started with {section}.{key} = {before[key]}, not {now[key]}; "
                    "set the old value to resume it, or pass a new directory as --out"
                )
