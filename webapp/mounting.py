"""Registers the routes, with their guards, in an app: at its root, or below a prefix beside the app's own pages."""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Blueprint, Flask
from flask.sansio.scaffold import Scaffold
from werkzeug.middleware.proxy_fix import ProxyFix

from millrace.webapp import problems, request_log
from millrace.webapp.facades import chat, conversation
from millrace.webapp.facades.aisdk import routes as aisdk
from millrace.webapp.facades.openai import chat_routes, models, unknown_paths
from millrace.webapp.facades.openai.responses import routes as responses_routes
from millrace.webapp.facades.websocket import routes as websocket
from millrace.webapp.guard import access, auth, cors, csrf, headers, limits
from millrace.webapp.guard.auth.function import OwnerFunction
from millrace.webapp.mounts import names_of
from millrace.webapp.routes import (
    beacon,
    conversations,
    documents,
    events,
    exports,
    files,
    generations,
    health,
    images,
    memories,
    messages,
    metrics,
    profile,
)
from millrace.webapp.routes import models as model_routes
from millrace.webapp.services import SERVICES, make_services, services
from millrace.worker.settings.schema import Settings

NAME = "millrace"
_PREFIX_HEADER = "HTTP_X_FORWARDED_PREFIX"
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", re.ASCII)
_ROUTES = (
    *(documents, generations, images, conversations, messages, exports, profile, memories, model_routes),
    beacon,
    *(events, aisdk, chat, conversation, websocket, health, files),
    *(models, chat_routes, responses_routes, unknown_paths),
)


def mount_routes(app: Flask, settings: Settings, url_prefix: str, owner: OwnerFunction | None) -> str:
    """Register the routes below the prefix and return the name of the new mount; raises SettingError.

    Errors, headers and checks apply to these routes only, so that the app's other pages stay as they are.
    """
    name = _new_name(app)
    # A host app's address is public more often than not, and its operator may not know of these routes.
    blueprint = _blueprint(name, url_prefix, has_metrics=bool(settings.http.metrics_token))
    install_guards(blueprint)
    _register(app, blueprint, settings, owner)
    return name


def mount_at_root(app: Flask, settings: Settings, owner: OwnerFunction | None) -> str:
    """Register the routes in an app that has no others, so that unknown addresses get a problem as well."""
    install_guards(app)
    _register(app, _blueprint(NAME, "", has_metrics=True), settings, owner)
    return NAME


def install_guards(scaffold: Scaffold) -> None:
    """Answer errors, add headers and check requests, in a whole app or in one blueprint."""
    for room in (problems, request_log, headers, access, cors, csrf, limits):
        room.install(scaffold)


def trust_proxies(app: Flask, count: int) -> None:
    """Take client address and scheme from the headers of this many proxies, which each append a value.

    The path prefix is the last value of its header, whichever proxy has set it. It becomes a part of URLs and of the
    cookie's path: a value that is no plain path is ignored.
    """
    if not count:
        return
    fixed = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0, x_port=0, x_prefix=1)

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = environ.pop(_PREFIX_HEADER, "").rpartition(",")[2].strip().rstrip("/")
        if _PREFIX.fullmatch(prefix):
            environ[_PREFIX_HEADER] = prefix
        return fixed(environ, start_response)

    app.wsgi_app = serve


def _register(app: Flask, blueprint: Blueprint, settings: Settings, owner: OwnerFunction | None) -> None:
    name = blueprint.name
    authenticator, key_auth = auth.make_authenticator(settings, owner), auth.KeyAuth(settings)
    mounted = make_services(settings)
    SERVICES.set(app, name, mounted)
    auth.AUTHENTICATOR.set(app, name, authenticator)
    auth.KEY_AUTH.set(app, name, key_auth)
    app.register_blueprint(blueprint)
    limits.apply_limits(app, name, settings, mounted.metrics.limiter_failures.inc)


def _new_name(app: Flask) -> str:
    number = len(names_of(app)) + 1
    return NAME if number == 1 else f"{NAME}_{number}"


def _blueprint(name: str, url_prefix: str, *, has_metrics: bool) -> Blueprint:
    blueprint = Blueprint(
        name,
        "millrace.webapp",
        url_prefix=url_prefix,
        template_folder="templates",
    )
    for room in (*_ROUTES, metrics) if has_metrics else _ROUTES:
        blueprint.register_blueprint(room.routes)
    blueprint.before_request(_start)
    return blueprint


def _start() -> None:
    services().start()
