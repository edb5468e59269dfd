"""The directory of a run: made by the first `train`, found again and checked by the next."""

from pathlib import Path
from typing import Any

from histosynth.config import Settings, settings_from_toml
from histosynth.errors import HistosynthError
from histosynth.rundir import MANIFEST, is_empty, provenance, read_manifest, require_directory, write_json, write_text

KIND = "run"
# These may change between two calls of the same run; all else that training reads must not.
_MAY_CHANGE = {
    "images", "epochs", "hours", "microbatch", "compile", "checkpoint_every", "keep_states", "samples_every",
    "trackers", "frechet_every", "frechet_images", "cache", "cache_gb", "workers",
}  # fmt: skip


class Run:
    """A run's directory.

    Args:
        path: the directory, made if absent.
        settings: what to train with.
        facts: what the data says: `labels`, `image_px`, `mpp`, `data_hash`, …; written to the manifest.
        total: images to train on in all.
        main: whether this is the process that writes it.

    Raises:
        HistosynthError: the directory holds something else, or a run of other settings or other data.
    """

    def __init__(self, path: Path, *, settings: Settings, facts: dict[str, Any], total: int, main: bool = True) -> None:
        self.path, self.settings, self.facts, self.total = path, settings, facts, total
        if not main:
            return
        require_directory(path)
        config = path / "config.toml"
        if config.exists():
            made_with = settings_from_toml(config.read_text("utf-8"), where=str(config))
            _require_same(path, made_with, settings)
        elif not is_empty(path):
            raise HistosynthError(f"{path} exists and is no run; give --out a new or empty directory")
        if (path / MANIFEST).exists():
            found = read_manifest(path, kind=KIND)
            if found["data_hash"] != facts["data_hash"]:
                raise HistosynthError(
                    f"{path} was trained on other patches ({found['store']}); give --out a new directory"
                )
        for folder in ("samples", "figures"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_text(config, settings.to_toml())

    @property
    def name(self) -> str:
        """The run's name, as synthetic patches carry it."""
        return self.path.resolve().name

    def weights(self, images: int, *, halflife: int | None = None) -> Path:
        """Where the averaged weights after `images` images lie; those of another half-life than the first name it."""
        return self.path / "weights" / f"ema{halflife or ''}-{images:010d}.safetensors"

    def write_manifest(self, status: str, *, images: int) -> None:
        """Say how far the run is: `status` is `running`, `stopped` by a signal, or `finished`."""
        progress = {"kind": KIND, "status": status, "images": images, "total_images": self.total}
        write_json(self.path / MANIFEST, {**progress, **self.facts, **provenance()})


def _require_same(path: Path, old: Settings, new: Settings) -> None:
    for section in ("model", "diffusion", "gan", "train"):
        before, now = getattr(old, section).model_dump(), getattr(new, section).model_dump()
        for key in before:
            if before[key] != now[key] and not (section == "train" and key in _MAY_CHANGE):
                raise HistosynthError(
                    f"{path} was begun with {section}.{key} = {before[key]}, not {now[key]}; "
                    "give the old value to resume it, or --out a new directory"
                )
