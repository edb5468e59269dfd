"""`histosynth info`: what is this slide, store, run, weights file, report or settings file?"""

from pathlib import Path
from typing import Any

import click

from histosynth.cli.options import json_option, show

_SHOWN = 8  # entries of a list; --json gives all


@click.command(short_help="What is this slide, store, run, weights file, report or settings file?")
@click.argument("thing", metavar="ANYTHING", type=click.Path(path_type=Path))
@json_option
def command(thing: Path, as_json: bool) -> None:
    """Say what ANYTHING is and what it holds.

    ANYTHING: a slide, a folder of slides, outlines, labels, a patch store, a run, a weights file, a report, a
    comparison, a reader study, a settings file or the name of a preset.
    """
    from histosynth.inspect.describe import describe

    facts = describe(thing)
    show({"path": str(thing), **facts}, f"{thing}: {facts.pop('kind')}\n{as_lines(facts)}", as_json=as_json)


def as_lines(facts: dict[str, Any], *, indent: int = 2) -> str:
    """Facts as aligned lines; a table in a table is indented below its name."""
    width = max(map(len, facts), default=0)
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{' ' * indent}{key}", as_lines(value, indent=indent + 2)]
        elif isinstance(value, list) and any(isinstance(item, str) and " " in item for item in value):
            lines += [f"{' ' * indent}{key}", *(f"{' ' * indent}  {sentence}" for sentence in value)]
        else:
            lines.append(f"{' ' * indent}{key:<{width}}  {_plain(value)}")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        more = f", … ({len(value)} in all)" if len(value) > _SHOWN else ""
        return ", ".join(map(_plain, value[:_SHOWN])) + more or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None or value == {} else str(value)
