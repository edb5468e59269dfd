"""The web app of the outlining tool: its page and the JSON interface behind it."""

from histosynth.annotate.app.factory import create_app

__all__ = ["create_app"]
