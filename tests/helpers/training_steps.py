"""Single steps of a task."""

from histosynth.training.model_task import Images, ModelTask
from histosynth.training.task import Task


def take_step(task: Task, seen: int) -> dict[str, float]:
    """Train on the batch after `seen` images; return the values to log."""
    task.step(seen)
    return task.read()


def images_at(task: ModelTask, seen: int) -> Images:
    """Return what the step after `seen` images sees."""
    return Images(*task.inputs.on_device(task.inputs.take(seen)))
