"""The blinded reader study: its design, its database, the page that readers answer on, and its statistics."""

from histosynth.web_server.extras import require_extra


def require(*packages: str) -> None:
    """Raise unless these packages of the extra `study` can be imported.

    Raises:
        HistosynthError: one cannot; it says how to install it.
    """
    require_extra("study", *packages, purpose="a reader study")
