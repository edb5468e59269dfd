"""The web app of one study: the readers' pages and the organizer's page."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from histosynth.study.app import organizing, reading
from histosynth.study.app.errors import (
    handle_database_error,
    handle_http_error,
    handle_validation_error,
    log_rejection,
    render_error,
)
from histosynth.study.app.state import STATIC, create_state
from histosynth.study.records.database import Database
from histosynth.web_server.security import SecurityMiddleware, SecurityPolicy

MAX_BODY_BYTES = 64 * 1024


def create_app(database: Database) -> FastAPI:
    """Create the app of the study in this database. Behind a proxy, it trusts the scheme and address of its headers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.study = create_state(database)
    policy = SecurityPolicy(max_body_bytes=MAX_BODY_BYTES, log_rejection=log_rejection, render_error=render_error)
    app.add_middleware(SecurityMiddleware, policy=policy)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(SQLAlchemyError, handle_database_error)
    app.include_router(reading.router)
    app.include_router(organizing.router)
    app.mount(app.state.study.static, StaticFiles(directory=STATIC))
    return app
