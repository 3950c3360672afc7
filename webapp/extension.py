"""The public API of the web tier: `Millrace`, a Flask extension, and the functions `create_app` and `mount`."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from flask import Flask

from millrace.webapp import settings as web_settings
from millrace.webapp.generation.creation import cancel_generation, check_idempotency_key, create_generation
from millrace.webapp.generation.validation import parse
from millrace.webapp.generation.views import receipt
from millrace.webapp.guard import limits
from millrace.webapp.guard.auth import sign_cookies
from millrace.webapp.guard.auth.function import OwnerFunction
from millrace.webapp.guard.ownership import generation_not_found, owned_by
from millrace.webapp.mounting import mount_at_root, mount_routes, trust_proxies
from millrace.webapp.mounts import MountState, names_of, use_mount
from millrace.webapp.problems import invalid
from millrace.webapp.services import Services, services_of
from millrace.worker.contract.events import Status
from millrace.worker.errors import SettingError
from millrace.worker.settings import schema
from millrace.worker.settings.parsers import is_owner
from millrace.worker.settings.schema import Settings

_active: WeakSet["Millrace"] = WeakSet()


@dataclass(frozen=True)
class Generation:
    """A generation that `Millrace.ask` has created: its ids, and the URLs for the browser.

    The URLs are paths from the root of the host, such as `/millrace/api/generations/ID/events`. `message_id` is the id
    of the answer.
    """

    id: str
    conversation_id: str
    message_id: str
    events_url: str
    cancel_url: str


class Millrace:
    """Millrace inside a Flask app: its page and its API under a URL prefix, beside the app's own pages.

    As with other Flask extensions, pass the app at once or later:

        millrace = Millrace(app, owner=lambda request: session.get("user"))

        millrace = Millrace(owner=current_user_id)
        millrace.init_app(app)

    `settings`: by default the environment's, read by `init_app`.
    `owner`: returns the id of the user who makes a request (1 to 255 printable characters, or a whole number),
    or None for a 401. It is called once per request, and again every few seconds while a stream is open, so that
    a user who loses access loses the stream. Without it, `MILLRACE_AUTH` decides.
    `url_prefix`: begins with a slash and does not end with one; empty for the root of the app.

    One object is one mount. A process may have several: in different apps, or in one app under different prefixes, each
    with settings, connections and background tasks of its own. Mounts that share a Redis and a database share their
    generations. The app is served by gunicorn's gevent workers: `gunicorn -c python:millrace.webapp.gunicorn_config`.

    Raises TypeError or ValueError, which name the bad argument, and SettingError for a bad setting. Does no I/O.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        settings: Settings | None = None,
        owner: OwnerFunction | None = None,
        url_prefix: str = "/millrace",
    ) -> None:
        if settings is not None:
            _check_type("settings", settings, Settings, "a millrace.Settings or None")
        if owner is not None and not callable(owner):
            raise TypeError(
                f"owner: takes a function of the request, got {owner!r}; MILLRACE_AUTH takes an import path"
            )
        _check_type("url_prefix", url_prefix, str, "a text")
        if url_prefix and (not url_prefix.startswith("/") or url_prefix.endswith("/")):
            raise ValueError(
                f"url_prefix: must begin with a slash and not end with one, or be empty; got {url_prefix!r}"
            )
        self.url_prefix = url_prefix
        self._settings = settings
        self._owner = owner
        self._app: Flask | None = None
        self._name = ""
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Mount into an app, once.

        Raises TypeError, ValueError if another mount of the app has the same prefix, RuntimeError on a second call,
        and SettingError.
        """
        settings = self._prepare(app)
        if settings.auth.method == "session" and not app.secret_key:
            raise SettingError("MILLRACE_AUTH: session needs an app that has a secret key")
        self._name = mount_routes(app, settings, self.url_prefix, self._owner)
        self._mounted(app)

    def make_app(self) -> Flask:
        """Return a new app that serves only this mount, at its root; raises RuntimeError, SettingError."""
        app = Flask("millrace.webapp", static_folder=None)
        settings = self._prepare(app)
        sign_cookies(app, settings)
        self._name = mount_at_root(app, settings, self._owner)
        self._mounted(app)
        trust_proxies(app, settings.http.trusted_proxies)
        return app

    @property
    def services(self) -> Services:
        """The clients and background tasks of this mount; raises RuntimeError before `init_app`."""
        return services_of(self._mounted_app(), self._name)

    def start(self) -> None:
        """Start the background tasks and connect; further calls do nothing.

        Called by the gunicorn configuration in each worker, and by the first request otherwise. Never call it in a
        process that forks afterwards.
        """
        self.services.start()

    def stop(self) -> None:
        """Stop the background tasks and close all connections, within a few seconds.

        Open streams receive nothing more. Their generations continue in the workers.
        """
        _active.discard(self)
        self.services.stop()
        limits.close(self._mounted_app(), self._name)

    def ask(
        self,
        owner: str,
        message: str,
        *,
        conversation_id: str | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Generation:
        """Create a generation for an owner, as `POST /api/generations` does, and return its ids and URLs.

        It is validated, counted among the owner's active generations and repeated for the same `idempotency_key` as
        over HTTP; rate limits count HTTP requests only. `fields` are the other fields of that route, such as `model` or
        `metadata`. Works in and outside a request.

        Raises TypeError or ValueError for a bad `owner`. Raises Problem, with a `status` and a stable `code`, where
        the route responds with one: 400 `bad_idempotency_key`, 403 `system_not_allowed`, 404 `not_found` for
        a conversation of another owner, 409 `conversation_busy` or `idempotency_conflict`, 422 `invalid_field` with the
        name in `members["field"]`, 429 `too_many_active`. Raises RedisUnavailable, QueueUnavailable or
        DatabaseUnavailable if a dependency does not answer; nothing half-created is left behind.
        """
        _check_owner(owner)
        body = {"message": message, **fields}
        if conversation_id is not None:
            body["conversation_id"] = conversation_id
        with use_mount(self._mounted_app(), self._name):
            if "stream" in fields:
                raise invalid("stream", "The answer is streamed from events_url.")
            key = check_idempotency_key(idempotency_key)
            parsed = parse(body, self.services.settings)
            self.start()  # a failed create is withdrawn by the background tasks
            created = receipt(create_generation(self.services, owner, parsed, key, is_streamed=False))
        return Generation(
            created.id, created.conversation_id, created.message_id, created.events_url, created.cancel_url
        )

    def cancel(self, owner: str, generation_id: str) -> Status:
        """Cancel a generation of an owner and return its status; idempotent.

        A generation that is still queued is `cancelled` at once, a running one shortly afterwards. The status of one
        that has ended does not change. Raises Problem 404 if the owner has no such generation, RedisUnavailable, and
        DatabaseUnavailable.
        """
        _check_owner(owner)
        with use_mount(self._mounted_app(), self._name):
            cancelled = cancel_generation(self.services, owned_by(owner, generation_id))
            if cancelled is None:
                raise generation_not_found()
        return cancelled[0]

    def _prepare(self, app: Flask) -> Settings:
        web_settings.refuse_blocking_server()
        _check_type("app", app, Flask, "a flask.Flask")
        if self._app is not None:
            raise RuntimeError("this Millrace is mounted already; create another one for another app or prefix")
        if self.url_prefix in (INSTANCE.of(app, name).url_prefix for name in names_of(app)):
            raise ValueError(f"url_prefix: another Millrace is mounted at {self.url_prefix!r} in this app")
        settings = schema.load() if self._settings is None else self._settings
        if self._owner is not None:
            if settings.auth.method not in ("session", "host"):
                raise SettingError(
                    f"MILLRACE_AUTH: is {settings.auth.method}, but Millrace has an owner function as well"
                )
            settings = settings.replace(auth="host")
        return web_settings.check(settings)

    def _mounted(self, app: Flask) -> None:
        self._app = app
        INSTANCE.set(app, self._name, self)
        _active.add(self)

    def _mounted_app(self) -> Flask:
        if self._app is None:
            raise RuntimeError("this Millrace is not mounted yet; call init_app(app) first")
        return self._app


INSTANCE: MountState[Millrace] = MountState("extension")


def active_mounts() -> list[Millrace]:
    """Return every mount of this process that has not been stopped, whichever app it belongs to."""
    return list(_active)


def create_app(settings: Settings | None = None, *, owner: OwnerFunction | None = None) -> Flask:
    """Return an app that serves Millrace alone, by default with the environment's settings.

    Does no I/O. Raises TypeError, which names the bad argument, and SettingError.
    """
    return Millrace(settings=settings, owner=owner, url_prefix="").make_app()


def mount(
    app: Flask,
    settings: Settings | None = None,
    *,
    owner: OwnerFunction | None = None,
    url_prefix: str = "/millrace",
) -> Millrace:
    """Mount Millrace into an app, and return the mount; the arguments and errors are those of `Millrace`."""
    return Millrace(app, settings=settings, owner=owner, url_prefix=url_prefix)


def _check_type(argument: str, value: object, wanted: type, accepts: str) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"{argument}: takes {accepts}, got {type(value).__name__}")


def _check_owner(owner: str) -> None:
    if not is_owner(owner):
        raise ValueError(
            f"owner: takes a text of 1 to 255 printable characters without surrounding spaces, got {owner!r}"
        )
