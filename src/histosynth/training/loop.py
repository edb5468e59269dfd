"""The training loop: linear, counted in images. Run the same command again and it goes on where it stopped."""

import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.patches.dataset import PatchDataset
from histosynth.patches.montage import save_montage
from histosynth.patches.store import Store
from histosynth.rundir import one_writer
from histosynth.training.checkpoint import Origin, load_newest_state, save_state, save_weights
from histosynth.training.classifier_task import ClassifierTask
from histosynth.training.curve import save_curve
from histosynth.training.device import pick_device
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.log import Log, read_stats
from histosynth.training.run import Run
from histosynth.training.task import Task

_LOG_LINES = 500  # about so many lines of stats.jsonl a run, however long it is


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a call of `train` did.

    Attributes:
        run: the run's directory.
        weights: the averaged weights, ready to sample.
        images: images seen in all.
        resumed_at: images that had been seen before this call.
        images_per_second: rate of this call, 0 if it had nothing to do.
        loss: mean loss over the last tenth of the log.
    """

    run: Path
    weights: Path
    images: int
    resumed_at: int
    images_per_second: float
    loss: float


@one_writer
def train(
    store: Store | Path, *, out: Path, settings: Settings, device: str | None = None, progress: bool = True
) -> TrainingResult:
    """Train a genotype-conditional denoiser (or a classifier) on the patches of a store, or go on with it.

    Args:
        store: the patches; only those of the split `settings.train.split` are seen.
        out: the run's directory.
        settings: sections `model`, `diffusion`, `train`; `sample` is used for the grids on the way.
        device: name of the device (None: the best there is).
        progress: show a progress bar.

    Raises:
        HistosynthError: no labeled patches, settings that do not fit, a directory of another run, a diverged loss.
    """
    store = store if isinstance(store, Store) else Store(store)
    data = PatchDataset.of(store, settings.train, progress=progress)
    make = {"denoiser": DiffusionTask, "classifier": ClassifierTask}[settings.train.task]
    task = make(data, settings=settings, device=pick_device(device))
    facts = {
        "labels": data.labels,
        "image_px": data.image_px,
        "mpp": store.column("mpp")[0],
        "patches": len(data),
        "train_split": settings.train.split,
        "train_patients": data.patients,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "store": str(store.path),
        "data_hash": store.content_hash(),
    }
    run = Run(out, settings=settings, facts=facts)
    state = load_newest_state(out / "state")
    if state is not None:
        task.load_state(state)
    seen = resumed_at = state["images"] if state is not None else 0
    weights = _loop(run, task, seen=seen, progress=progress)
    stats = read_stats(out)
    tail = [line["loss"] for line in stats[-max(len(stats) // 10, 1) :]]
    return TrainingResult(
        run=out,
        weights=weights,
        images=stats[-1]["images"],
        resumed_at=resumed_at,
        images_per_second=stats[-1]["images_per_second"] if stats[-1]["images"] > resumed_at else 0.0,
        loss=sum(tail) / len(tail),
    )


def _loop(run: Run, task: Task, *, seen: int, progress: bool) -> Path:
    settings = run.settings.train
    total = -(-settings.images // settings.batch) * settings.batch
    run.write_manifest("running", images=seen)
    log_every = max(total // _LOG_LINES, settings.batch)
    started, first = time.perf_counter(), seen
    with (
        Log(run.path, images=seen) as log,
        tqdm(total=total, initial=seen, unit="img", desc="train", disable=not progress, smoothing=0.05) as bar,
    ):
        while seen < total:
            try:
                values = task.step(seen)
            except HistosynthError as error:
                raise HistosynthError(f"{error}; the last checkpoint is in {run.path / 'state'}") from error
            before, seen = seen, seen + settings.batch
            bar.update(settings.batch)
            if _crossed(before, seen, log_every) or seen >= total:
                rate = (seen - first) / (time.perf_counter() - started)
                log.write(seen, {**values, "images_per_second": round(rate, 2)})
                bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
            if _crossed(before, seen, settings.samples_every) or seen >= total:
                _show(run, task, seen=seen)
            if _crossed(before, seen, settings.checkpoint_every) and seen < total:
                _checkpoint(run, task, seen=seen)
                run.write_manifest("running", images=seen)
    weights = _weights_path(run, images=seen)
    if seen > first or not weights.is_file():
        _checkpoint(run, task, seen=seen)
    run.write_manifest("finished", images=seen)
    save_curve(run.path / "figures" / "loss.png", read_stats(run.path))
    return weights


def _show(run: Run, task: Task, *, seen: int) -> None:
    if images := task.preview():
        save_montage(run.path / "samples" / f"{seen:010d}.png", images, synthetic=True, columns=6)


def _checkpoint(run: Run, task: Task, *, seen: int) -> None:
    """Weights first, then the state that says they exist; older weights go."""
    facts = run.facts
    origin = Origin(
        settings=run.settings,
        labels=facts["labels"],
        image_px=facts["image_px"],
        mpp=facts["mpp"],
        run=run.name,
        images=seen,
        data_hash=facts["data_hash"],
    )
    path = _weights_path(run, images=seen)
    save_weights(path, task.weights(), origin)
    save_state(run.path / "state", {"images": seen, **task.state()}, images=seen)
    for old in path.parent.glob("ema-*.safetensors"):
        if old != path:
            old.unlink()


def _weights_path(run: Run, *, images: int) -> Path:
    return run.path / "weights" / f"ema-{images:010d}.safetensors"


def _crossed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return before // every < now // every
