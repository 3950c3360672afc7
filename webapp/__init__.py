"""The web tier: takes questions, answers with event streams, and does no work of its own.

The law of this room: of `worker` it enters only the contract and the store; whatever may wait, waits in Redis or in a
socket.
"""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from millrace.webapp import settings as web_settings
from millrace.webapp.guard import auth
from millrace.webapp.mounting import attach, install_rooms, mount
from millrace.worker.settings.schema import Settings

__all__ = ["create_app", "mount"]


def create_app(settings: Settings | None = None) -> Flask:
    """Return the app, by default with the environment's settings; does no I/O.

    Raises SettingError. `Services.start` is to be called in the process that serves, after any fork.
    """
    settings = web_settings.load() if settings is None else web_settings.check(settings)
    app = Flask(__name__, static_folder=None)
    auth.sign_cookies(app, settings)
    install_rooms(app)
    attach(app, settings)
    proxies = settings.http.trusted_proxies
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=0, x_port=0, x_prefix=0)
    return app
