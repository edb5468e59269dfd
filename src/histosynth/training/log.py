"""The log of a run: `stats.jsonl`, a line of JSON a step logged; the same in TensorBoard where that is installed."""

import json
from pathlib import Path
from typing import Any

from histosynth.rundir import write_text


class Log:
    """Appends to a run's log.

    Args:
        directory: the run.
        images: images seen at the start; what an interrupted process logged beyond them is dropped.
    """

    def __init__(self, directory: Path, *, images: int) -> None:
        path = directory / "stats.jsonl"
        kept = [line for line in read_stats(directory) if line["images"] <= images]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._board = _tensorboard(directory / "tensorboard", images)

    def write(self, images: int, values: dict[str, float]) -> None:
        """Log `values` after `images` images."""
        self._file.write(json.dumps({"images": images, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, images)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_stats(directory: Path) -> list[dict[str, Any]]:
    """The lines of a run's `stats.jsonl`; a last line torn by a kill is left out."""
    path = directory / "stats.jsonl"
    lines = []
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _tensorboard(directory: Path, images: int) -> Any:
    """A TensorBoard writer, or None where the extra `tensorboard` is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=images)
