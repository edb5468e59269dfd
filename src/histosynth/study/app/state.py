"""What every route needs: the rules, the visits, the templates and the limits. One for each server process."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request
from jinja2 import Environment, Template

from histosynth.pages import environment
from histosynth.study.app.limits import RateLimiter, network
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import Database
from histosynth.study.records.visits import Visits

STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, kw_only=True)
class AppState:
    """Where the routes find what they work with."""

    database: Database
    answers: Answers
    visits: Visits
    pages: Environment
    static: str
    """The path of scripts and styles. It changes with their content, so browsers may keep them for good."""
    failed_links: RateLimiter = field(default_factory=lambda: RateLimiter(burst=10, per_second=1 / 60))
    """By network: ten guesses, then one a minute."""
    form_posts: RateLimiter = field(default_factory=lambda: RateLimiter(burst=300, per_second=10))
    """By visit: no hand is as fast."""
    rejections: RateLimiter = field(default_factory=lambda: RateLimiter(burst=60, per_second=1))
    """By network: how many refusals the audit log takes up, lest it fill the disk."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("uvicorn.error"))

    def page(self, name: str) -> Template:
        """Return a template of the study's pages, such as `case`."""
        return self.pages.get_template(f"study/app/templates/{name}.html.j2")


def create_state(database: Database) -> AppState:
    """Create the state of the app of a study."""
    answers = Answers(database)
    about = answers.info()
    pages = environment()
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir())))
    static = f"/static/{content.hexdigest()[:16]}"
    pages.globals.update(study=about.title, static=static, contact=about.settings.get("contact") or "")
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


def client_address(request: Request) -> str:
    """From where it was asked."""
    return request.client.host if request.client else ""


def client_network(request: Request) -> str:
    """What limits by address count as one."""
    return network(client_address(request))
