"""Create the app."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from histosynth.annotate.app import drawing, page, viewing
from histosynth.annotate.app.errors import (
    handle_http_error,
    handle_known_error,
    handle_os_error,
    handle_validation_error,
    log_rejection,
    render_error,
)
from histosynth.annotate.app.state import AppState
from histosynth.errors import HistosynthError
from histosynth.web_server.security import SecurityMiddleware, SecurityPolicy

MAX_BODY_BYTES = 2 << 20


def create_app(state: AppState) -> FastAPI:
    """Create the app of a workspace. Behind a proxy, it trusts the scheme and address of its headers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.annotate = state
    policy = SecurityPolicy(
        max_body_bytes=MAX_BODY_BYTES,
        log_rejection=log_rejection,
        render_error=render_error,
        cached=(viewing.IMAGE_PATH,),
    )
    app.add_middleware(SecurityMiddleware, policy=policy)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(HistosynthError, handle_known_error)
    app.add_exception_handler(OSError, handle_os_error)
    for module in (page, viewing, drawing):
        app.include_router(module.router)
    return app
