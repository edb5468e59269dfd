"""Packages of an extra, which the program needs only for one of its commands."""

from importlib import import_module

from histosynth.errors import HistosynthError


def require_extra(extra: str, *packages: str, purpose: str) -> None:
    """Raise unless these packages of an extra can be imported.

    Args:
        extra: name of the extra.
        packages: names of its modules.
        purpose: what needs them, for the message: `a reader study`.

    Raises:
        HistosynthError: one cannot; it says how to install it.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise HistosynthError(
                f"{purpose} needs {package} ({error}); install it with: pip install 'histosynth[{extra}]'"
            ) from error
