"""`histosynth study plan`: compute how many readers and cases a study needs."""

from dataclasses import asdict

import click

from histosynth.cli.options import json_option, print_result, quiet_option


@click.command("plan", short_help="Compute how many readers and cases a study needs.")
@click.option(
    "--margin", default=0.10, show_default=True, type=float, help="Accuracy within 0.5 ± margin counts as guessing."
)
@click.option(
    "--area-margin", default=0.14, show_default=True, type=float,
    help="Area under the ROC curve within 0.5 ± area margin counts as guessing.",
)  # fmt: skip
@click.option(
    "--power", default=0.80, show_default=True, type=float, help="Probability of showing equivalence if readers guess."
)
@click.option("--alpha", default=0.05, show_default=True, type=float, help="Significance level of each one-sided test.")
@click.option(
    "--readers", default="1,2,3,5,8,12", show_default=True, metavar="N,N,…", help="Numbers of readers to plan for."
)
@click.option("--accuracy", default=0.5, show_default=True, type=float, help="True accuracy of the average reader.")
@click.option(
    "--reader-sd", default=0.2, show_default=True, type=click.FloatRange(0, 5),
    help="Standard deviation between readers on the logit scale; 0.2 is 5 points of accuracy.",
)  # fmt: skip
@click.option(
    "--case-sd",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 5),
    help="Standard deviation between cases on the logit scale.",
)
@click.option(
    "--patients", default=0, show_default=True, type=click.IntRange(0),
    help="Patients of the real cases; 0: one real case per patient.",
)  # fmt: skip
@click.option(
    "--patient-sd", default=0.5, show_default=True, type=click.FloatRange(0, 5),
    help="Standard deviation between patients of real cases on the logit scale.",
)  # fmt: skip
@click.option(
    "--repeats", default=0, show_default=True, type=click.IntRange(0), help="Cases that each reader sees twice."
)
@click.option(
    "--max-cases",
    default=1000,
    show_default=True,
    type=click.IntRange(2, 20_000),
    help="Largest number of cases to try.",
)
@click.option(
    "--simulations",
    default=2000,
    show_default=True,
    type=click.IntRange(100, 1_000_000),
    help="Simulated studies per design.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the simulation.")
@quiet_option
@json_option
def command(
    margin: float, area_margin: float, power: float, alpha: float, readers: str, accuracy: float, reader_sd: float,
    case_sd: float, patients: int, patient_sd: float, repeats: int, max_cases: int, simulations: int, seed: int,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compute how many cases each reader must read to show that readers only guess.

    Studies are simulated with the tests of `study analyze` and the given variation between readers, cases and
    patients. Half of the cases are real. Declare the margins before anyone reads: `study create` stores them.

    \b
      histosynth study plan --margin 0.10 --readers 2,5,10
      histosynth study plan --readers 5 --patients 10
      histosynth study plan --margin 0.15 --power 0.9 --repeats 20 --json
    """
    from histosynth.errors import HistosynthError
    from histosynth.study.design.planning import as_text, plan
    from histosynth.study.design.power import Assumptions

    try:
        numbers = [int(number) for number in readers.split(",")]
    except ValueError:
        raise HistosynthError(f"--readers takes numbers separated by commas, such as 2,5,10, not '{readers}'") from None
    assumptions = Assumptions(
        margin=margin, area_margin=area_margin, power=power, alpha=alpha, accuracy=accuracy, reader_sd=reader_sd,
        case_sd=case_sd, patients=patients, patient_sd=patient_sd, simulations=simulations, seed=seed,
        max_cases=max_cases,
    )  # fmt: skip
    study_plan = plan(assumptions, readers=numbers, repeats=repeats, progress=not quiet)
    print_result(asdict(study_plan), as_text(study_plan), as_json=as_json)
