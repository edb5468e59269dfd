"""`histosynth info`: the kind and the content of a file, a directory or a preset."""

from pathlib import Path
from typing import Any

import click

from histosynth.cli.options import json_option, print_result

_MAX_ITEMS = 8  # of a list in text; --json prints all
_MAX_WIDTH = 40  # of the names before the values


@click.command(short_help="Describe a slide, store, run, weights file, report or settings file.")
@click.argument("thing", metavar="ANYTHING", type=click.Path(path_type=Path))
@json_option
def command(thing: Path, as_json: bool) -> None:
    """Print the kind and the content of ANYTHING.

    ANYTHING is a slide, a folder of slides, outlines, labels, a patch store, a run, a weights file, a report, a
    comparison, a reader study, a settings file or the name of a preset.
    """
    from histosynth.inspect.describe import describe

    facts = describe(thing)
    print_result({"path": str(thing), **facts}, f"{thing}: {facts.pop('kind')}\n{as_lines(facts)}", as_json=as_json)


def as_lines(facts: dict[str, Any], *, indent: int = 2) -> str:
    """Return facts as aligned lines, with nested tables indented below their names."""
    width = min(max(map(len, facts), default=0), _MAX_WIDTH)
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{' ' * indent}{key}", as_lines(value, indent=indent + 2)]
        elif isinstance(value, list) and any(isinstance(item, str) and " " in item for item in value):
            lines += [f"{' ' * indent}{key}", *(f"{' ' * indent}  {sentence}" for sentence in value)]
        else:
            lines.append(f"{' ' * indent}{_plain(key):<{width}}  {_plain(value)}")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        more = f", … ({len(value)} in total)" if len(value) > _MAX_ITEMS else ""
        return ", ".join(map(_plain, value[:_MAX_ITEMS])) + more or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None or value == {} else str(value).replace("\n", "\\n")  # a name starts no line
