"""`MILLRACE_AUTH=package.module:function`: the host app's own login, as a function of the request."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import gevent
from flask import Flask, Request, current_app
from flask import request as current_request

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.guard.client import kept_variables
from millrace.worker.errors import SettingError
from millrace.worker.settings.parsers import is_owner

OwnerFunction = Callable[[Request], Any]

_DROPPED_VARIABLE = "HTTP_LAST_EVENT_ID"  # differs between the readers of one user


def import_function(path: str) -> OwnerFunction:
    """Return the function at `package.module:function`; raises SettingError if it cannot be imported or called."""
    module, _, name = path.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:
        raise SettingError(f"MILLRACE_AUTH: {path} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise SettingError(f"MILLRACE_AUTH: {path} is not callable; it takes a function of a request")
    return cast("OwnerFunction", function)


class FunctionAuth:
    """Calls a function that returns the owner's id (a string or an integer), or None or "" for nobody.

    It may raise to reject.
    """

    creates_owners = False
    has_ambient_credentials = True

    def __init__(self, function: OwnerFunction) -> None:
        self._function = function

    def authenticate(self, request: Request) -> str | None:
        """Return the owner; raises TypeError for an invalid id, and every Exception that the function raises."""
        found = self._call(request)
        if found is None or found == "":
            return None
        owner = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
        if not is_owner(owner):
            raise TypeError(
                f"the function of MILLRACE_AUTH returned a {type(found).__name__} that is not an owner's id"
            )
        return cast("str", owner)

    def _call(self, request: Request) -> Any:
        try:
            return self._function(request)
        except (Exception, gevent.GreenletExit, gevent.Timeout):
            raise
        except BaseException as error:  # a SystemExit would leave the client without a response: the server ignores it
            raise RuntimeError(f"the function of MILLRACE_AUTH raised {type(error).__name__}") from error

    def challenge(self, request: Request) -> str:
        """Return a challenge that opens no password dialog in a browser: the host app has the login."""
        return 'Login realm="millrace"'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return a check that calls the function again, in a request context like the current one."""
        kept = kept_variables(request.environ)
        kept.pop(_DROPPED_VARIABLE, None)
        app = cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001

        def is_valid() -> bool:
            with app.request_context(dict(kept)):
                return self.authenticate(current_request) == owner

        headers = tuple(sorted((name, kept[name]) for name in kept if name.startswith("HTTP_")))
        return Authorization((owner, headers), is_valid)
