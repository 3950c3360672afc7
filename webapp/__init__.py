"""The web tier: takes questions, answers with event streams, and does no work of its own.

The law of this room: of `worker` it enters only the contract; whatever may wait, waits in Redis or in a socket.
"""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import auth, csrf, generations, headers, health, page, problems
from webapp import settings as web_settings
from webapp.facades import chat, conversation
from webapp.housekeeping import Housekeeping
from webapp.openapi import routes as openapi
from webapp.relay import Hub
from webapp.services import EXTENSION, Services
from worker.contract.connection import connect
from worker.contract.queue import Doorbell
from worker.contract.settings import Settings

REDIS_SECONDS = 2.5  # somebody waits: with its one retry a command is given up after 5 s


def create_app(settings: Settings | None = None) -> Flask:
    """Return the app, by default with the environment's settings; does no I/O.

    Raises SettingError. `Services.start` is to be called in the process that serves, after any fork.
    """
    settings = web_settings.load() if settings is None else web_settings.check(settings)
    app = Flask(__name__)
    app.json.sort_keys = False  # pyright: ignore[reportAttributeAccessIssue]
    app.extensions[EXTENSION] = _make_services(settings)
    for room in (problems, headers, csrf):
        room.install(app)
    auth.install(app, settings)
    for room in (page, generations, chat, conversation, openapi, health):
        app.register_blueprint(room.routes)
    proxies = settings.trusted_proxies
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=0, x_port=0, x_prefix=0)
    return app


def _make_services(settings: Settings) -> Services:
    redis = connect(settings.redis_url, answer_seconds=REDIS_SECONDS)
    doorbell = Doorbell(settings)
    hub = Hub(redis, settings)
    return Services(settings, redis, doorbell, hub, Housekeeping(redis, settings, doorbell, hub))
