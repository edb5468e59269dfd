"""The Jinja environment of every HTML page that histosynth writes or serves.

The name of a template is its path in the package: `report/templates/report.html.j2`.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(filters: Mapping[str, Callable[..., Any]] | None = None) -> Environment:
    """Return an environment that escapes HTML and rejects undefined names.

    Args:
        filters: filters for the templates, by name, in addition to `data_uri`.
    """
    pages = Environment(
        loader=PackageLoader("histosynth", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"data_uri": data_uri, **(filters or {})}
    return pages


def data_uri(image: bytes, kind: str = "png") -> str:
    """Return an image file of that kind (`png`, `jpeg`) as a `data:` URL, to embed it in a page."""
    return f"data:image/{kind};base64,{b64encode(image).decode()}"
