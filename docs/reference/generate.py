"""Generate the reference pages from the code: `make docs`. A test fails if a page differs from the code."""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from histosynth.cli import VERBS, histosynth
from histosynth.config import Settings, StudySettings
from histosynth.report.compare.schema import ComparisonFacts
from histosynth.report.schema import ReportFacts
from histosynth.study.analysis.schema import json_schema

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}


def settings_page() -> str:
    """Write every setting with its default, allowed values and meaning."""
    lines = [
        "# Settings",
        "",
        "This page lists all settings. Set them in a TOML file with one table per section (`--config FILE`), start",
        "from a preset (`--config NAME`), or override single settings (`--set section.key=value`). Settings that a",
        "file omits keep their defaults. `[study]` is not part of this file: pass its settings as options of",
        "`histosynth study create`, which stores them in `study.toml` of the study.",
        "",
        "Generated from `histosynth/config/` by `make docs`; edit the source, not this page.",
    ]
    for name, default in (*Settings(), ("study", StudySettings())):
        lines += [
            "",
            f"## [{name}]",
            "",
            _one_line(type(default).__doc__),
            "",
            "| key | default | allowed values | meaning |",
        ]
        lines += ["| --- | --- | --- | --- |"]
        for key, field in type(default).model_fields.items():
            value = json.dumps(default.model_dump(mode="json")[key])
            lines.append(f"| `{key}` | `{value}` | {_allowed(field)} | {_one_line(field.description)} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Write every command with its arguments and options."""
    lines = [
        "# Command line",
        "",
        "This page lists all commands with their arguments and options, as printed by `--help`.",
        "",
        "Generated from `histosynth/cli` by `make docs`; edit the source, not this page.",
    ]
    group = click.Context(histosynth, info_name="histosynth")
    for verb in VERBS:
        command = histosynth.get_command(group, verb)
        assert command is not None
        lines += _command(command, click.Context(command, info_name=verb, parent=group), heading="##")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context, *, heading: str) -> list[str]:
    """Write a command, followed by its subcommands."""
    usage = " ".join(command.collect_usage_pieces(context))
    text = _one_line((command.help or "").partition("\b")[0])
    lines = ["", f"{heading} {context.command_path}", "", f"`{context.command_path} {usage}`", "", text]
    if examples := (command.help or "").partition("\b")[2].strip():
        lines += ["", "```", *(line.strip() for line in examples.splitlines()), "```"]
    if options := [_option(p) for p in command.params if isinstance(p, click.Option)]:
        lines += ["", "| option | meaning |", "| --- | --- |", *options]
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        subcommand = command.get_command(context, name)
        assert subcommand is not None
        lines += _command(subcommand, click.Context(subcommand, info_name=name, parent=context), heading=f"{heading}#")
    return lines


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(click.Command('x')))}"
    default = f" Default: {option.default}." if option.show_default and not option.is_flag else ""
    required = " Required." if option.required else ""
    text = f"{_one_line(option.help)}{required}{default}"
    shown = f"{', '.join(option.opts)}{value}".replace("|", "\\|")
    return f"| `{shown}` | {text} |"


def _allowed(field: FieldInfo) -> str:
    kind: Any = field.annotation
    bounds = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in BOUNDS.items() if hasattr(m, key)]
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is Literal:
            return f"list of {', '.join(f'`{choice}`' for choice in get_args(item))}"
        return "list of strings" if item is str else "list of integers ≥ 1"
    if get_origin(kind) is dict:
        return "table of numbers > 0"
    if choices := get_args(kind):
        return ", ".join(f"`{choice}`" for choice in choices)
    name = {int: "integer", float: "number", str: "string", bool: "`true`, `false`"}[kind]
    return f"{name} {', '.join(bounds)}".strip()


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def report_schema() -> str:
    """Write the JSON Schema of report.json."""
    return json.dumps(ReportFacts.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def compare_schema() -> str:
    """Write the JSON Schema of compare.json."""
    return json.dumps(ComparisonFacts.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def study_report_schema() -> str:
    """Write the JSON Schema of study_report.json."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "report.schema.json": report_schema,
    "compare.schema.json": compare_schema,
    "study_report.schema.json": study_report_schema,
}

if __name__ == "__main__":
    for page, render in PAGES.items():
        Path(__file__).with_name(page).write_text(render(), "utf-8")
