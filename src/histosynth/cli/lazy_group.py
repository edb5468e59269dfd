"""A group of commands with one module each, imported when the command is called, which keeps `--help` fast."""

from importlib import import_module

import click

from histosynth.errors import did_you_mean


def lazy_group(package: str, names: tuple[str, ...], *, noun: str) -> type[click.Group]:
    """Return the class of a group with the commands `package.<name>.command`, in this order; `noun` is for messages."""

    class LazyGroup(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(names)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            if cmd_name not in names:
                hint = did_you_mean(cmd_name, names)
                ctx.fail(f"no {noun} '{cmd_name}'{hint}; the {noun}s are {', '.join(names)}")
            command: click.Command = import_module(f"{package}.{cmd_name}").command
            return command

    return LazyGroup
