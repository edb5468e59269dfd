"""The app: one study, its readers' pages and its organizer's."""

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


def create_app(database_url: str) -> FastAPI:
    """The app of the study that this database holds. Behind a proxy, it goes by the scheme and address it is told.

    Raises:
        HistosynthError: the database holds no study, or cannot be reached.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.study = create_state(Database(database_url).require_study())
    app.add_middleware(SecurityMiddleware)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(SQLAlchemyError, handle_database_error)
    app.include_router(reading.router)
    app.include_router(organizing.router)
    app.mount(app.state.study.static, StaticFiles(directory=STATIC))
    return app
