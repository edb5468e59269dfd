"""`histosynth doctor`: what is installed here, and does it work?"""

import click

from histosynth.cli.options import json_option, show


@click.command(short_help="Versions, devices, readers, extractors: what works here?")
@json_option
def command(as_json: bool) -> None:
    """Show versions, devices, readers, extractors and free space, and check that each works."""
    from histosynth.cli.info import as_lines
    from histosynth.inspect.machine import describe_machine

    facts = describe_machine()
    show(facts, as_lines(facts), as_json=as_json)
