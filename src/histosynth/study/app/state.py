"""The state that all routes share: the rules, the visits, the templates and the rate limits. One per server process."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request
from jinja2 import Environment, Template

from histosynth.pages import environment
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import Database
from histosynth.study.records.visits import Visits
from histosynth.web_server.limits import RateLimiter

STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, kw_only=True)
class AppState:
    """The objects that routes work with."""

    database: Database
    answers: Answers
    visits: Visits
    pages: Environment
    static: str
    """Path of scripts and styles. It changes with their content, so browsers may cache them forever."""
    invalid_links: RateLimiter = field(default_factory=lambda: RateLimiter(burst=10, per_second=1 / 60))
    """Per network: ten guesses, then one per minute."""
    link_opens: RateLimiter = field(default_factory=lambda: RateLimiter(burst=20, per_second=1 / 60))
    """Per link: new visits, each of which is stored."""
    form_posts: RateLimiter = field(default_factory=lambda: RateLimiter(burst=300, per_second=10))
    """Per visit: faster than anyone can click."""
    rejections: RateLimiter = field(default_factory=lambda: RateLimiter(burst=60, per_second=1))
    """Per network: entries of the audit log, so that rejections do not fill the disk."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("uvicorn.error"))

    def template(self, name: str) -> Template:
        """Return a template of the study's pages, such as `case`."""
        return self.pages.get_template(f"study/app/templates/{name}.html.j2")


def create_state(database: Database) -> AppState:
    """Create the state of the app of a study."""
    answers = Answers(database)
    study = answers.info()
    pages = environment()
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir())))
    static = f"/static/{content.hexdigest()[:16]}"
    pages.globals.update(study=study.title, static=static, contact=study.settings.get("contact") or "")
    return AppState(
        database=database,
        answers=answers,
        visits=Visits(database),
        pages=pages,
        static=static,
    )


def app_state(request: Request) -> AppState:
    """Return the state of the app that serves this request."""
    state: AppState = request.app.state.study
    return state
