"""The blinded reader study: its design, its database, the page that readers answer on, and its statistics."""

from importlib import import_module

from histosynth.errors import HistosynthError


def require(*packages: str) -> None:
    """Raise unless these packages of the extra `study` can be imported.

    Raises:
        HistosynthError: one cannot; it says how to install it.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise HistosynthError(
                f"a reader study needs {package} ({error}); install it with: pip install 'histosynth[study]'"
            ) from error
