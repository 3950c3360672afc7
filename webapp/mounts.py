"""Per-mount state: one app may carry several mounts, and each request is served by exactly one of them.

A mount is identified by the name of its blueprint. Modules keep what they need of each mount in a `MountState`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

from flask import Flask, current_app, has_request_context, request, url_for

_KEY = "millrace"
"""`app.extensions[_KEY]` maps the name of each mount, in the order of mounting, to its state."""

T = TypeVar("T")

_current: ContextVar[str | None] = ContextVar("millrace_mount", default=None)


class MountState(Generic[T]):
    """One piece of state that every mount has, such as its services or its rate limits."""

    def __init__(self, name: str) -> None:
        self._name = name

    def set(self, app: Flask, mount: str, value: T) -> None:
        """Store the state of a mount."""
        _registry(app).setdefault(mount, {})[self._name] = value

    def of(self, app: Flask, mount: str) -> T:
        """Return the state of a mount; raises KeyError."""
        return cast("T", _registry(app)[mount][self._name])

    def current(self) -> T:
        """Return the state of the mount that serves the current request."""
        return self.of(current_app, current_mount())


def current_mount() -> str:
    """Return the name of the mount that serves the current request.

    A request outside every mount, such as one for an unknown path, belongs to the first mount.
    """
    chosen = _current.get()
    if chosen is not None:
        return chosen
    mounts = names_of(current_app)
    blueprint = request.blueprints[-1] if has_request_context() and request.blueprints else None
    return blueprint if blueprint in mounts else mounts[0]


@contextmanager
def use_mount(app: Flask, mount: str) -> Generator[None]:
    """Make a mount the current one; works outside a request, and inside a request to the host app's own routes."""
    with app.app_context():
        token = _current.set(mount)
        try:
            yield
        finally:
            _current.reset(token)


def url_of(endpoint: str, **values: Any) -> str:
    """Return the path of a route of the current mount, with its prefix; works in and outside a request."""
    endpoint = f"{current_mount()}.{endpoint}"
    if has_request_context():
        return url_for(endpoint, **values)
    # Outside a request `url_for` requires SERVER_NAME and returns a URL with a host.
    root = str(current_app.config["APPLICATION_ROOT"])
    return current_app.url_map.bind("", script_name=root).build(endpoint, values)


def names_of(app: Flask) -> list[str]:
    """Return the names of the app's mounts, in the order of mounting."""
    return list(_registry(app))


def _registry(app: Flask) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", app.extensions.setdefault(_KEY, {}))
