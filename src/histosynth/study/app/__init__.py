"""The page on which pathologists read, and its organizer's: FastAPI, server-rendered, hardened."""

from histosynth.study.app.factory import create_app
from histosynth.study.app.timeouts import server_settings

__all__ = ["create_app", "server_settings"]
