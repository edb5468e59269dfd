"""`histosynth doctor`: what is installed on this machine, and whether it works."""

import click

from histosynth.cli.options import json_option, print_result


@click.command(short_help="Check versions, devices, readers and extractors.")
@json_option
def command(as_json: bool) -> None:
    """Print versions, devices, readers, extractors and free disk space, and check that each works."""
    from histosynth.cli.info import as_lines
    from histosynth.inspect.machine import describe_machine

    facts = describe_machine()
    print_result(facts, as_lines(facts), as_json=as_json)
