"""The states of a run on disk, `state/state-<images>.pt`; files with other names are not states."""

import re
from pathlib import Path

_NAME = re.compile(r"state-[0-9]{12,}\.pt", re.ASCII)


def state_path(directory: Path, images: int) -> Path:
    """Return the path of the state after `images` images."""
    return directory / f"state-{images:012d}.pt"


def saved_states(directory: Path) -> list[Path]:
    """Return the paths of the states in a directory, oldest first."""
    return sorted(path for path in directory.glob("state-*.pt") if _NAME.fullmatch(path.name))
