"""The app: one study, its readers' pages and its organizer's."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from histosynth.study.app import organizing, reading
from histosynth.study.app.errors import on_database, on_invalid, on_refusal
from histosynth.study.app.middleware import Gate
from histosynth.study.app.state import STATIC, furnish
from histosynth.study.records.database import Database


def create_app(database_url: str) -> FastAPI:
    """The app of the study that this database holds. Behind a proxy, it goes by the scheme and address it is told.

    Raises:
        HistosynthError: the database holds no study, or cannot be reached.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.desk = furnish(Database(database_url).require_study())
    app.add_middleware(Gate)
    app.add_exception_handler(HTTPException, on_refusal)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(SQLAlchemyError, on_database)
    app.include_router(reading.router)
    app.include_router(organizing.router)
    app.mount(app.state.desk.static, StaticFiles(directory=STATIC))
    return app
