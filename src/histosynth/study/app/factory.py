"""The web app of one study: the readers' pages and the organizer's page."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from histosynth.study.app import organizing, reading
from histosynth.study.app.errors import handle_database_error, handle_http_error, handle_validation_error
from histosynth.study.app.middleware import SecurityMiddleware
from histosynth.study.app.state import STATIC, create_state
from histosynth.study.records.database import Database


def create_app(database: Database) -> FastAPI:
    """Create the app of the study in this database. Behind a proxy, it trusts the scheme and address of its headers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.study = create_state(database)
    app.add_middleware(SecurityMiddleware)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(SQLAlchemyError, handle_database_error)
    app.include_router(reading.router)
    app.include_router(organizing.router)
    app.mount(app.state.study.static, StaticFiles(directory=STATIC))
    return app
