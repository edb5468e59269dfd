"""Prepare a server: the packages and the page that it needs, the slides, the annotators and their links."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from histosynth.annotate.catalog import Catalog
from histosynth.annotate.classes import DEFAULT_CLASSES, parse_classes
from histosynth.annotate.links import Links
from histosynth.annotate.preview import Previewer
from histosynth.annotate.workspace import Workspace
from histosynth.config import PatchSettings
from histosynth.errors import HistosynthError

if TYPE_CHECKING:
    from histosynth.annotate.app.state import AppState

PAGE = Path(__file__).with_name("page")
"""The page as `make page` builds it from `web/annotate`."""


def require() -> None:
    """Raise unless the packages of the extra `annotate` and the built page are there.

    Raises:
        HistosynthError: one is not; it says how to get it.
    """
    for package in ("fastapi", "uvicorn"):
        try:
            import_module(package)
        except ImportError as error:
            raise HistosynthError(
                f"outlining needs {package} ({error}); install it with: pip install 'histosynth[annotate]'"
            ) from error
    if not (PAGE / "index.html").is_file():
        raise HistosynthError("the page of this source tree is not built yet; run: make page")


def create_state(
    slides: Sequence[Path],
    out: Path,
    *,
    annotators: Sequence[str],
    settings: PatchSettings,
    classes: Sequence[str] = (),
    imports: Path | None = None,
    mpp: float | None = None,
    read_only: bool = False,
    page: Path = PAGE,
) -> "AppState":
    """Return the state of the app.

    Args:
        slides: slides, folders of them, and URLs.
        out: OUTLINES; it exists.
        annotators: who draws.
        classes: further classes, as `NAME` or `NAME=#rrggbb`.
        imports: folder of outlines to start from.
        mpp: microns per pixel of slides that state none.
        settings: of the preview. Necrosis and Exclude are excluded unless they name other classes.
        read_only: only show.
        page: folder of the built page.

    Raises:
        HistosynthError: a slide, a name or a class is missing or invalid.
        OSError: OUTLINES cannot be written.
    """
    from histosynth.annotate.app.state import VIEWER, AppState

    if imports is not None and not imports.is_dir():
        raise HistosynthError(f"no folder of outlines '{imports}'; check --import")
    if not settings.exclude_classes:
        tumor = {name.casefold() for name in settings.tumor_classes}
        others = [each.name for each in DEFAULT_CLASSES[1:] if each.name.casefold() not in tumor]
        settings = settings.model_copy(update={"exclude_classes": tuple(others)})
    catalog = Catalog(slides, mpp=mpp)
    workspace = Workspace(out, catalog, annotators=annotators, classes=parse_classes(classes), imports=imports)
    links = Links(out, [VIEWER] if read_only else workspace.annotators)
    # Sizes and errors of all slides are known soon, but the list does not wait for them.
    Thread(target=lambda: [catalog.facts(slide_id) for slide_id in catalog.slide_ids], daemon=True).start()
    return AppState(
        workspace=workspace,
        links=links,
        previewer=Previewer(catalog, settings),
        page=page,
        read_only=read_only,
    )
