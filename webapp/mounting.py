"""Puts the routes into an app: our own, or somebody else's, beside its pages and behind its login."""

from flask import Blueprint, Flask
from flask.sansio.scaffold import Scaffold

from millrace.webapp import problems, request_log
from millrace.webapp import settings as web_settings
from millrace.webapp.facades import chat, conversation
from millrace.webapp.generation.stored_log import StoredLogs
from millrace.webapp.guard import auth, cors, csrf, headers, limits
from millrace.webapp.housekeeping import Housekeeping
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.relay import Hub
from millrace.webapp.routes import (
    conversations,
    documents,
    events,
    generations,
    health,
    memories,
    messages,
    metrics,
    profile,
)
from millrace.webapp.services import EXTENSION, Services, services, services_of
from millrace.worker.contract.connection import connect
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database

NAME = "millrace"
_ROOMS = (
    *(documents, generations, conversations, messages, profile, memories),
    *(events, chat, conversation, health, metrics),
)
REDIS_SECONDS = 2.5  # somebody waits: with its one retry a command is given up after 5 s


def mount(app: Flask, settings: Settings | None = None, *, url_prefix: str = "/millrace") -> None:
    """Put page and API into somebody else's app, below the prefix, by default with the environment's settings.

    Nothing outside the prefix is touched: errors, headers and checks are the routes' own. Who asks is the affair of
    the app's login, which `MILLRACE_AUTH` names as `package.module:function`; with `session` it is an anonymous owner
    in the app's own session. The app must be served by gunicorn's gevent workers; does no I/O. Raises SettingError.
    """
    settings = web_settings.load() if settings is None else web_settings.check(settings)
    if settings.auth.method == "session" and not app.secret_key:
        raise SettingError("MILLRACE_AUTH: session needs an app that has a secret key")
    routes = _blueprint(url_prefix)
    install_rooms(routes)
    routes.before_request(_start)
    attach(app, settings, routes)


def _start() -> None:
    services().start()


def install_rooms(scaffold: Scaffold) -> None:
    """Have an app, or the routes alone, answer errors, add headers and check requests as we do."""
    for room in (problems, request_log, headers, cors, csrf, limits):
        room.install(scaffold)


def attach(app: Flask, settings: Settings, routes: Blueprint | None = None) -> None:
    """Make what the routes need and register them, by default at the app's root; raises SettingError."""
    app.extensions[EXTENSION] = _make_services(settings)
    auth.install(app, settings)
    app.register_blueprint(routes or _blueprint(""))
    limits.apply_limits(app, settings, services_of(app).figures.limiter_failures.inc)


def _blueprint(url_prefix: str) -> Blueprint:
    whole = Blueprint(
        NAME,
        "millrace.webapp",
        url_prefix=url_prefix,
        static_folder="static",
        static_url_path="/static",
        template_folder="templates",
    )
    for room in _ROOMS:
        whole.register_blueprint(room.routes)
    return whole


def _make_services(settings: Settings) -> Services:
    redis = connect(settings.redis.url, timeout_seconds=REDIS_SECONDS)
    database = Database(settings)
    task_queue = TaskQueue(settings)
    hub = Hub(redis, settings, StoredLogs(database).entries)
    figures = WebMetrics(hub)
    housekeeping = Housekeeping(redis, database, settings, task_queue, hub, figures=figures)
    return Services(settings, redis, database, task_queue, hub, housekeeping, figures)
