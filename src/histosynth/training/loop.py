"""The training loop, linear and counted in images; a repeated call resumes it."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from tqdm import tqdm

from histosynth.config import Settings
from histosynth.errors import HistosynthError
from histosynth.normalization.mixed_colors import mixed_colors
from histosynth.store.contact_sheet import save_contact_sheet
from histosynth.store.png import synthetic_mark
from histosynth.store.store import Store
from histosynth.training.checkpoint import load_state, newest_state
from histosynth.training.classifier_task import ClassifierTask
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.gan_task import GanTask
from histosynth.training.launch import broadcast_from_main, launch, main_process_lock, wait_for_all
from histosynth.training.log import Log, check_trackers, read_stats
from histosynth.training.periodic_metric import PeriodicMetric
from histosynth.training.run import Run
from histosynth.training.saving import Saver
from histosynth.training.stopping import StopCondition
from histosynth.training.task import Task
from histosynth.training.throughput import Throughput, peak_tflops
from histosynth.training.writer import BackgroundWriter, warn_if_unwritten

_LOG_LINES = 500  # approximate number of lines in stats.jsonl, whatever the length of the run

_TASKS: Mapping[str, Callable[..., Task]] = {
    "denoiser": DiffusionTask,
    "classifier": ClassifierTask,
    "generator": GanTask,
}


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Result of `train`.

    Attributes:
        run: directory of the run.
        weights: the averaged weights, ready to sample.
        images: images seen in total.
        resumed_at: images seen before this call.
        images_per_second: rate of this call, 0 if there was nothing to do.
        loss: mean loss over the last tenth of the log.
        hours: duration of the run, over all calls.
        ended: why training ended: `images` (or epochs) or `hours`.
        processes: number of processes.
    """

    run: Path
    weights: Path
    images: int
    resumed_at: int
    images_per_second: float
    loss: float
    hours: float
    ended: str
    processes: int


def train(
    store: Store | Path,
    *,
    out: Path,
    settings: Settings,
    device: str | None = None,
    progress: bool = True,
    metrics: Sequence[PeriodicMetric] = (),
) -> TrainingResult:
    """Train a genotype-conditional denoiser, GAN or classifier on the patches of a store, or resume its training.

    Under `torchrun` or `accelerate launch`, every process calls this function and gets the same result.

    Args:
        store: the patches; only those of the split `settings.train.split` are used.
        out: directory of the run; all processes need access to it.
        settings: sections `model`, `diffusion` or `gan`, `train`; `sample` applies to the sample grids.
        device: name of the device (None: the best available).
        progress: show a progress bar.
        metrics: metrics to log during training; the best weights by the first one are kept.

    Raises:
        HistosynthError: no labeled patches, settings that do not match, a directory of another run, a diverged loss, a
            last checkpoint that could not be written.
        Stopped: SIGTERM or SIGINT arrived, and the state is saved.
    """
    trackers = check_trackers(settings.train.trackers)
    accelerator = launch(
        device,
        precision=settings.train.precision,
        time_algorithms=True,
        trackers=trackers,
        directory=out / "tensorboard",
    )
    with main_process_lock(accelerator, out):
        return _train(store, accelerator, out=out, settings=settings, progress=progress, metrics=metrics)


def _train(
    store: Store | Path,
    accelerator: Accelerator,
    *,
    out: Path,
    settings: Settings,
    progress: bool,
    metrics: Sequence[PeriodicMetric],
) -> TrainingResult:
    # Data, task, and the directory of the run.
    store = store if isinstance(store, Store) else Store(store)
    if accelerator.is_main_process and (caution := mixed_colors(store)):
        warnings.warn(caution, stacklevel=2)
    data = PatchDataset.of(store, settings.train, progress=progress and accelerator.is_main_process)
    wait_for_all(accelerator)  # one process per machine has decoded the patches, perhaps for hours
    task = _TASKS[settings.model_role](data, settings=settings, accelerator=accelerator)
    facts = {
        "labels": data.labels,
        "image_px": data.image_px,
        "mpp": store.column("mpp")[0],
        "patches": len(data),
        "train_split": settings.train.split,
        "train_patients": data.patients,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "processes": accelerator.num_processes,
        "store": str(store.path),
        "data_hash": store.content_hash(),
    }
    run = Run(out, settings=settings, facts=facts, total=task.images, main=accelerator.is_main_process)
    # Resume from the newest intact state.
    path = broadcast_from_main(accelerator, newest_state(out / "state") if accelerator.is_main_process else None)
    resumed_at, seconds = 0, 0.0
    if path is not None:
        state = load_state(path)
        try:
            task.load_state(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise HistosynthError(
                f"{path} does not fit the run ({' '.join(str(error).split())[:120]}); delete it to resume from the "
                "state before it"
            ) from error
        resumed_at, seconds = state["images"], state["seconds"]
        del state
    # Train, and save the end.
    with StopCondition(accelerator, hours=settings.train.hours, seconds=seconds) as stop, BackgroundWriter() as writer:
        saver = Saver(run, task, stop, writer, seen=resumed_at)
        seen = _loop(run, task, stop, saver, writer, seen=resumed_at, progress=progress, metrics=metrics)
        saver.finish(seen, changed=seen > resumed_at)
    wait_for_all(accelerator)
    stats = read_stats(out)
    tail = [line["loss"] for line in stats[-max(len(stats) // 10, 1) :]]
    return TrainingResult(
        run=out,
        weights=run.weights(seen),
        images=seen,
        resumed_at=resumed_at,
        images_per_second=stats[-1]["images_per_second"] if seen > resumed_at else 0.0,
        loss=sum(tail) / len(tail),
        hours=round(stop.seconds / 3600, 4),
        ended="images" if seen >= task.images else "hours",
        processes=accelerator.num_processes,
    )


def _loop(
    run: Run,
    task: Task,
    stop: StopCondition,
    saver: Saver,
    writer: BackgroundWriter,
    *,
    seen: int,
    progress: bool,
    metrics: Sequence[PeriodicMetric],
) -> int:
    """Train until all images are seen or the hours are used up; return the images seen."""
    settings, total, main = run.settings.train, task.images, task.accelerator.is_main_process
    log_every = max(total // _LOG_LINES, settings.batch)
    started, first = time.perf_counter(), seen
    log = Log(run.path, images=seen, accelerator=task.accelerator, settings=run.settings) if main else None
    throughput = _throughput(task) if main else None
    best = broadcast_from_main(task.accelerator, _lowest(run, metrics[0].name) if metrics else math.inf)
    bar = tqdm(total=total, initial=seen, unit="img", desc="train", disable=not (progress and main), smoothing=0.05)
    try:
        over = False
        while seen < total and not over:
            # One step.
            with _naming_the_checkpoint(saver):
                task.step(seen)
            before, seen = seen, seen + settings.batch
            writer.poll()
            over = stop.should_stop()
            ended = seen >= total or over
            bar.update(settings.batch)
            # What is due. All of it needs weights that are known to be finite.
            grid = (_crossed(before, seen, settings.samples_every) or ended) and not stop.signum
            due = [each for each in metrics if (_crossed(before, seen, each.every) or ended) and not stop.signum]
            snapshot = before < task.snapshot_at <= seen
            checkpoint = _crossed(before, seen, settings.checkpoint_every) and not ended
            logged = ended or bool(due) or _crossed(before, seen, log_every)
            if grid or snapshot or checkpoint or logged or stop.signum:
                with _naming_the_checkpoint(saver):
                    values = task.read()
            # Sample grid, metrics, best weights.
            if grid:
                _save_sample_grid(run, task, seen=seen)
            measured = {metric.name: _measure(task, metric) for metric in due}
            if metrics and measured.get(metrics[0].name, math.inf) < best:
                best = measured[metrics[0].name]
                saver.save_best(seen)
            if snapshot:
                saver.save_early(seen)
            # Log, and checkpoint or stop.
            if log and logged:
                rate = (seen - first) / (time.perf_counter() - started)
                work = throughput.values(rate) if throughput else {}
                log.write(seen, {**values, **measured, "images_per_second": round(rate, 2), **work})
                bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
            if stop.signum:
                saver.save_and_stop(seen)
            if checkpoint:
                saver.save(seen)
    finally:
        bar.close()
        if log:
            log.close()
    return seen


def _throughput(task: Task) -> Throughput | None:
    """Return the throughput of training on GPUs, None on other devices or if the work per image changes."""
    accelerator = task.accelerator
    if accelerator.device.type != "cuda" or (flop := task.flop_per_image) is None:
        return None
    peak = peak_tflops(accelerator.device, precision=accelerator.mixed_precision)
    return Throughput(flop_per_image=flop, gpus=accelerator.num_processes, peak_tflops=peak)


@contextmanager
def _naming_the_checkpoint(saver: Saver) -> Iterator[None]:
    """Add the last checkpoint to the message of an error."""
    try:
        yield
    except HistosynthError as error:
        raise HistosynthError(f"{error}; the last checkpoint is in {saver.latest_state()}") from error


def _save_sample_grid(run: Run, task: Task, *, seen: int) -> None:
    if (images := task.preview()) and task.accelerator.is_main_process:
        with warn_if_unwritten("a sample grid"):
            save_contact_sheet(
                run.path / "samples" / f"{seen:010d}.png", images, texts=synthetic_mark(run.name), columns=6
            )


def _measure(task: Task, metric: PeriodicMetric) -> float:
    images = task.preview(metric.per_label)
    return float(
        broadcast_from_main(task.accelerator, metric.measure(images) if task.accelerator.is_main_process else None)
    )


def _lowest(run: Run, name: str) -> float:
    """Return the lowest logged value of a metric."""
    return min((line[name] for line in read_stats(run.path) if name in line), default=math.inf)


def _crossed(before: int, now: int, every: int) -> bool:
    """Return whether a multiple of `every` lies in (before, now]."""

    return before // every < now // every
