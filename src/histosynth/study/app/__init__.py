"""The web page on which pathologists read, and the organizer's page: FastAPI, rendered and hardened on the server."""

from histosynth.study.app.factory import create_app

__all__ = ["create_app"]
