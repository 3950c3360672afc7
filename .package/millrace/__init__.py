"""Millrace streams LLM answers through Flask, Celery and Redis, so that an answer outlives its request.

    from millrace import Millrace

    millrace = Millrace(app, owner=lambda request: session.get("user"))
    generation = millrace.ask("ada", "Why is the sky blue?")

Importing the package loads nothing else, because Celery imports it before `millrace.worker`, which must not load Flask;
each name is imported when it is first used.

Errors: `MillraceError` is the base class of `SettingError` (a setting is unknown or has a bad value), `Problem` (a
request was rejected), `RedisUnavailable`, `QueueUnavailable` and `DatabaseUnavailable` (a dependency did not answer).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.webapp.extension import Generation, Millrace, create_app, mount
    from millrace.webapp.problems import Problem
    from millrace.worker.errors import (
        DatabaseUnavailable,
        MillraceError,
        QueueUnavailable,
        RedisUnavailable,
        SettingError,
    )
    from millrace.worker.settings.schema import Settings

__version__ = "0.2.0"

__all__ = [
    "DatabaseUnavailable",
    "Generation",
    "Millrace",
    "MillraceError",
    "Problem",
    "QueueUnavailable",
    "RedisUnavailable",
    "SettingError",
    "Settings",
    "__version__",
    "create_app",
    "mount",
]

_HOMES = {
    **dict.fromkeys(("Generation", "Millrace", "create_app", "mount"), "millrace.webapp.extension"),
    **dict.fromkeys(("Problem",), "millrace.webapp.problems"),
    **dict.fromkeys(("Settings",), "millrace.worker.settings.schema"),
    **dict.fromkeys(
        ("DatabaseUnavailable", "MillraceError", "QueueUnavailable", "RedisUnavailable", "SettingError"),
        "millrace.worker.errors",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
