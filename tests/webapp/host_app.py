"""A host application with its own login, and Millrace mounted below /chat."""

from typing import Any

from flask import Flask, Request, Response, request, session

from millrace.webapp import mount
from millrace.worker.settings.schema import Settings

LOGIN = "tests.webapp.host_app:user_of"


def user_of(_: Request) -> Any:
    """Return the user who is logged in to the host, as `MILLRACE_AUTH` needs it."""
    return session.get("user")


def make_host(settings: Settings | None = None) -> Flask:
    """Return the host with its own login, page and 404 handler, and Millrace below /chat."""
    app = Flask("tests.webapp.host_app")
    app.secret_key = "the host's own"
    app.register_error_handler(404, lambda _: ("the host knows no such page", 404))
    app.add_url_rule("/", "home", lambda: "the host's home")
    app.add_url_rule("/login/<user>", "login", _login)
    app.add_url_rule("/post", "post", lambda: request.get_data(as_text=True), methods=["POST"])
    mount(app, settings, url_prefix="/chat")
    return app


def _login(user: str) -> Response:
    session["user"] = user
    return Response(f"hello {user}")
