"""Saving during training: checkpoints written in the background, the best weights, and the progress.

Only the main process saves, because every process has the same tensors. A checkpoint is copied to the CPU; a thread
then writes the weights, the state that refers to them, and the manifest, and deletes older files last.
"""

from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, NoReturn

from torch import Tensor

from histosynth.errors import Stopped
from histosynth.training.checkpoint import save_state, save_weights
from histosynth.training.cpu_copy import cpu_copy
from histosynth.training.curve import save_loss_curve
from histosynth.training.launch import broadcast_from_main, wait_for_all
from histosynth.training.log import read_stats
from histosynth.training.origin import Origin
from histosynth.training.run import Run
from histosynth.training.saved_states import saved_states
from histosynth.training.stopping import StopCondition
from histosynth.training.task import Task
from histosynth.training.writer import BackgroundWriter


class Saver:
    """Saves a task to its run through a `BackgroundWriter`; sets the status of the run to running at `seen` images."""

    def __init__(self, run: Run, task: Task, stop: StopCondition, writer: BackgroundWriter, *, seen: int) -> None:
        self.run, self.task, self._stop, self._writer = run, task, stop, writer
        self._main = task.accelerator.is_main_process
        if self._main:
            run.write_manifest("running", images=seen)

    def save(self, seen: int, *, status: str = "running") -> None:
        """Start to write a checkpoint."""
        assert not self.task.updates.pending, "the weights may have diverged"
        if self._main:
            state = self.task.state() | {"images": seen, "seconds": self._stop.seconds}
            self._writer.submit(partial(self._write, state, status), what=f"the checkpoint after {seen} images")

    def save_best(self, seen: int) -> None:
        """Write the averaged weights as the best ones, in place of earlier ones."""
        self._save_weights("best", seen)

    def save_early(self, seen: int) -> None:
        """Write the averaged weights as the early ones, for autoguidance, in place of earlier ones."""
        self._save_weights("early", seen)

    def save_and_stop(self, seen: int) -> NoReturn:
        """Save the state, and end training because of a signal.

        Raises:
            Stopped: always, once everything is on disk.
        """
        self.save(seen, status="stopped")
        self._writer.wait(required=True)
        wait_for_all(self.task.accelerator)
        name = Signals(self._stop.signum).name
        raise Stopped(
            self._stop.signum,
            f"stopped by {name} after {seen} images, saved in {self.run.path / 'state'}; rerun the command to resume",
        )

    def finish(self, seen: int, *, changed: bool) -> None:
        """Complete a finished run: write its checkpoint unless it exists, the manifest and the loss curve."""
        unsaved = changed or not all(path.is_file() for path in self._weights(seen))
        if broadcast_from_main(self.task.accelerator, unsaved):
            self.save(seen)
        if self._main:
            self._writer.wait(required=True)
            self.run.write_manifest("finished", images=seen)
            save_loss_curve(self.run.path / "figures" / "loss.png", read_stats(self.run.path))

    def latest_state(self) -> Path:
        """Return the path of the newest state on disk, or the directory of the states if there is none yet."""
        self._writer.wait()
        folder = self.run.path / "state"
        return max(saved_states(folder), default=folder)

    def _weights(self, seen: int) -> list[Path]:
        """Return the paths of the averaged weights, those of the first half-life first."""

        others = [self.run.weights(seen, halflife=ema.halflife) for ema in self.task.emas[1:]]
        return [self.run.weights(seen), *others]

    def _write(self, state: dict[str, Any], status: str) -> None:
        seen, origin = state["images"], self._origin(state["images"])
        paths = self._weights(seen)
        for path, weights in zip(paths, state["emas"], strict=True):
            save_weights(path, weights, origin)
        save_state(self.run.path / "state", state, images=seen, keep=self.run.settings.train.keep_states)
        for old in paths[0].parent.glob("ema*-*.safetensors"):
            if old not in paths:
                old.unlink()
        self.run.write_manifest(status, images=seen)

    def _save_weights(self, name: str, seen: int) -> None:
        assert not self.task.updates.pending, "the weights may have diverged"
        if self._main:
            weights = cpu_copy(self.task.emas[0].weights)
            job = partial(self._write_weights, name, weights, seen)
            self._writer.submit(job, what=f"the {name} weights after {seen} images")

    def _write_weights(self, name: str, weights: dict[str, Tensor], seen: int) -> None:
        path = self.run.path / "weights" / f"{name}-{seen:010d}.safetensors"
        save_weights(path, weights, self._origin(seen))
        for old in path.parent.glob(f"{name}-*.safetensors"):
            if old != path:
                old.unlink()

    def _origin(self, seen: int) -> Origin:
        facts = self.run.facts
        return Origin(
            settings=self.run.settings,
            labels=facts["labels"],
            image_px=facts["image_px"],
            mpp=facts["mpp"],
            run=self.run.name,
            images=seen,
            data_hash=facts["data_hash"],
        )
