"""`histosynth annotate serve`: serve the page on which tumor is outlined."""

import getpass
from pathlib import Path

import click

from histosynth.cli.options import echo, settings_options

_PATH = click.Path(path_type=Path)


@click.command("serve", short_help="Outline tumor in the browser (the default task).")
@click.argument("slides", nargs=-1, required=True, type=_PATH, metavar="SLIDES...")
@click.option("--out", required=True, type=_PATH, metavar="OUTLINES", help="Folder of the outlines.")
@click.option(
    "--annotator",
    multiple=True,
    metavar="NAME",
    help="Who draws; repeatable, each with a link and a folder of their own. Default: your login name.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME[=#RRGGBB]",
    help="A further class of outlines; repeatable. There are Tumor, Necrosis and Exclude.",
)
@click.option(
    "--import",
    "imports",
    type=_PATH,
    metavar="DIR",
    help="Start from these outlines (QuPath, ASAP, ImageScope, HALO, NDP.view), named like the slides.",
)
@click.option("--mpp", type=float, metavar="MICRONS", help="Microns per pixel, for slides without a stated value.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, usually behind a proxy.")
@click.option("--port", default=8010, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--read-only", is_flag=True, help="Only show the outlines of all annotators.")
@settings_options
def command(
    slides: tuple[Path, ...],
    out: Path,
    annotator: tuple[str, ...],
    classes: tuple[str, ...],
    imports: Path | None,
    mpp: float | None,
    host: str,
    port: int,
    read_only: bool,
    config: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Serve SLIDES (slides, folders of them, URLs) until stopped, and save what is outlined in OUTLINES/<annotator>.

    Open the printed link in a browser. Each stroke is on disk before the next; stop the server at any time. The slides
    are never changed. For each slide there are a log of all strokes, from which any earlier state can be restored, and
    a GeoJSON that QuPath and `histosynth patches` read. A GeoJSON that is there already is opened.

    The page also shows which patches these outlines give, by the settings of `patches`.

    \b
      histosynth annotate slides/ --out outlines
      histosynth annotate slides/ --out outlines --annotator anna --annotator ben --class Infiltration=#ff9d00
      histosynth patches slides/ --outlines outlines/anna --out store
    """
    from histosynth.annotate.start import create_state, require
    from histosynth.config import load_settings

    require()
    from histosynth.annotate.app import create_app
    from histosynth.annotate.app.state import VIEWER
    from histosynth.rundir import exclusive_lock
    from histosynth.web_server.serving import address_of, listen, serve

    settings = load_settings(config, overrides=list(overrides)).patches
    names = annotator or (getpass.getuser(),)
    with exclusive_lock(out), listen(host, port, served="the folder") as listener:
        state = create_state(
            slides, out, annotators=names, classes=classes, imports=imports, mpp=mpp, settings=settings,
            read_only=read_only,
        )  # fmt: skip
        address = address_of(listener)
        for name in [VIEWER] if read_only else state.workspace.annotators:
            echo(f"{name:<12} {address}/open/{state.links.token(name)}")
        if not read_only:
            folder = out / state.workspace.annotators[0]
            excluded = "".join(f" --exclude-class {name}" for name in state.previewer.settings.exclude_classes)
            echo(f"then         histosynth patches SLIDES --outlines {folder}{excluded} --out STORE")
        try:
            serve(create_app(state), listener)
        finally:
            state.workspace.catalog.close()
