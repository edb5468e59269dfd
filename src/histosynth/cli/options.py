"""Options that several verbs share, and the output of their results."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from histosynth.text import printable

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """Add `--config` (a preset's name or a TOML path) and `--set section.key=value`."""
    config = click.option(
        "--config",
        metavar="PRESET|TOML",
        help="A preset (demo, small, paper, progan-demo, …) or a TOML file. Default: the built-in settings.",
    )
    override = click.option(
        "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override one setting; repeatable."
    )
    return config(override(command))


def device_option(command: F) -> F:
    """Add `--device`, and `--deterministic`, which needs no argument of the command: PyTorch keeps it per process."""
    device = click.option("--device", help="cpu, cuda, cuda:1, mps … Default: the best available device.")
    deterministic = click.option(
        "--deterministic",
        is_flag=True,
        expose_value=False,
        callback=_set_deterministic,
        help="Repeat results to the bit on GPUs of one kind, at some cost in time.",
    )
    return device(deterministic(command))


def _set_deterministic(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from histosynth.training.device import use_deterministic_algorithms

        use_deterministic_algorithms()


def quiet_option(command: F) -> F:
    """Add `--quiet`."""
    return click.option("--quiet", is_flag=True, help="No progress bar.")(command)


def json_option(command: F) -> F:
    """Add `--json`: the result as JSON on standard output, for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def print_result(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print `text`, or `result` as JSON; of several processes, only the first prints."""
    if main_process():
        echo(json.dumps(result, ensure_ascii=False) if as_json else text)


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may hold names from files: a terminal shows their control characters and obeys none."""
    click.echo(printable(text), err=err)


def main_process() -> bool:
    """Return whether this is the only process, or the first that `torchrun` or `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"
