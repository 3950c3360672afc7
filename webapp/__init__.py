"""The web tier: takes questions over HTTP, answers with event streams, and runs no model.

The law of this room: of `millrace.worker` it imports only the rooms that both tiers share; all that waits, waits in
Redis or in a socket. The package itself imports nothing before it is used, so that `gunicorn_config` can patch first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.webapp.extension import Millrace, create_app, mount

__all__ = ["Millrace", "create_app", "mount"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("millrace.webapp.extension"), name)
