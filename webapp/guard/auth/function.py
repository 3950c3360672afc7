"""`MILLRACE_AUTH=package.module:function`: an app's own login, asked by a function of the request."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast
from wsgiref.types import WSGIEnvironment

from flask import Flask, Request, current_app
from flask import request as current_request

from millrace.webapp.guard.auth.protocol import Authorization, is_owner
from millrace.worker.errors import SettingError

OwnerFunction = Callable[[Request], Any]

_KEPT = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")
_ALSO_KEPT = ("REMOTE_ADDR", "wsgi.url_scheme", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess")
_NO_PART_OF_WHO = "HTTP_LAST_EVENT_ID"


def import_function(path: str) -> OwnerFunction:
    """Return the function that `package.module:function` names; raises SettingError where there is none."""
    module, _, name = path.partition(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        raise SettingError(f"MILLRACE_AUTH: {path} can't be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise SettingError(f"MILLRACE_AUTH: {path} is no function of a request")
    return cast("OwnerFunction", function)


class FunctionAuth:
    """Asks a function, which returns the owner's id, a text or a whole number, or None; it may raise to refuse."""

    creates_owners = False
    has_ambient_credentials = True

    def __init__(self, function: OwnerFunction) -> None:
        self._function = function

    def authenticate(self, request: Request) -> str | None:
        """Return the owner; raises TypeError where the function returns what is no id, and whatever it raises."""
        found = self._function(request)
        if found is None:
            return None
        owner = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
        if not is_owner(owner):
            raise TypeError(f"the function of MILLRACE_AUTH returned a {type(found).__name__} that is no owner's id")
        return cast("str", owner)

    def challenge(self, request: Request) -> str:
        """Return a challenge that makes no browser ask for a password: the login is the app's affair."""
        return 'Login realm="millrace"'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return a check that asks the function again, in a context like this request's."""
        kept = _slim(request.environ)
        app = cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001

        def is_valid() -> bool:
            with app.request_context(dict(kept)):
                return self.authenticate(current_request) == owner

        headers = tuple(sorted((name, kept[name]) for name in kept if name.startswith("HTTP_")))
        return Authorization((owner, headers), is_valid)


def _slim(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return what of a request says who asks: its headers and its address, without socket, body and server."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _KEPT or name in _ALSO_KEPT or name.startswith("HTTP_")) and name != _NO_PART_OF_WHO
    }
