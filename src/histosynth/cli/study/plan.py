"""`histosynth study plan`: how many readers and cases."""

from dataclasses import asdict

import click

from histosynth.cli.options import json_option, print_result, quiet_option


@click.command("plan", short_help="How many readers and cases a study needs.")
@click.option("--margin", default=0.10, show_default=True, type=float, help="Accuracy within 0.5 ± margin is guessing.")
@click.option("--power", default=0.80, show_default=True, type=float, help="Chance to show it if readers only guess.")
@click.option("--alpha", default=0.05, show_default=True, type=float, help="Level of each one-sided test.")
@click.option(
    "--readers", default="1,2,3,5,8,12", show_default=True, metavar="N,N,…", help="Numbers of readers to plan for."
)
@click.option("--accuracy", default=0.5, show_default=True, type=float, help="True accuracy of the average reader.")
@click.option(
    "--reader-sd", default=0.2, show_default=True, type=click.FloatRange(0, 5),
    help="How much readers differ, on the logit: 0.2 is 5 points of accuracy.",
)  # fmt: skip
@click.option(
    "--case-sd", default=0.5, show_default=True, type=click.FloatRange(0, 5), help="How much cases differ, likewise."
)
@click.option(
    "--repeats", default=0, show_default=True, type=click.IntRange(0), help="Cases each reader is shown twice."
)
@click.option(
    "--max-cases", default=1000, show_default=True, type=click.IntRange(2, 20_000), help="Give up beyond so many cases."
)
@click.option(
    "--simulations",
    default=2000,
    show_default=True,
    type=click.IntRange(100, 1_000_000),
    help="Studies simulated each.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the simulation.")
@quiet_option
@json_option
def command(
    margin: float, power: float, alpha: float, readers: str, accuracy: float, reader_sd: float, case_sd: float,
    repeats: int, max_cases: int, simulations: int, seed: int, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """How many cases each of so many readers must read to show that they only guess: equivalence to 50%.

    One reader is computed exactly; several are simulated with the very test of `study analyze`, as readers and cases
    differ. Half of the cases are real. Declare the margin before anyone reads: `study create` keeps it.

    \b
      histosynth study plan --margin 0.10 --readers 2,5,10
      histosynth study plan --margin 0.15 --power 0.9 --repeats 20 --json
    """
    from histosynth.errors import HistosynthError
    from histosynth.study.design.planning import as_text, plan
    from histosynth.study.design.power import Assumptions

    try:
        numbers = [int(number) for number in readers.split(",")]
    except ValueError:
        raise HistosynthError(
            f"--readers takes numbers with commas between, such as 2,5,10; found '{readers}'"
        ) from None
    assumptions = Assumptions(
        margin=margin, power=power, alpha=alpha, accuracy=accuracy, reader_sd=reader_sd, case_sd=case_sd,
        simulations=simulations, seed=seed, max_cases=max_cases,
    )  # fmt: skip
    found = plan(assumptions, readers=numbers, repeats=repeats, progress=not quiet)
    print_result(asdict(found), as_text(found), as_json=as_json)
