"""How gunicorn runs the web: `gunicorn -c deploy/gunicorn.conf.py --bind HOST:PORT --workers N wsgi:application`."""

# ruff: noqa: E402, N999 - patched before anything imports ssl, which can't be patched any more then; the name is
# gunicorn's.

from gevent import monkey

monkey.patch_all()

import gc
import sys
from math import ceil
from typing import Any

import gevent
from gunicorn.http import message

from millrace.webapp import settings as web_settings
from millrace.webapp.services import Services, services_of
from millrace.worker.errors import SettingError
from millrace.worker.observability import logs

try:
    _settings = web_settings.load()
except SettingError as error:
    sys.stderr.write(f"millrace: {error}\n")
    sys.exit(2)

worker_class = "gevent"
worker_connections = (
    _settings.relay.max_readers + 1000
)  # readers that are no bare sockets, and room for everything else
max_requests = 0  # a worker that is replaced ends its streams
keepalive = 75
timeout = 60
graceful_timeout = ceil(_settings.worker.shutdown_grace_seconds) + 3
# A cursor that is much too long, in the address or in its header, gets the protocol's 400, not gunicorn's own answer.
limit_request_line = limit_request_field_size = message.MAX_REQUEST_LINE = 16 * 1024
accesslog = None
control_socket_disable = (
    True  # it lies at one path for all systems of a user: two of them would take it from each other
)

logs.configure()
# Gunicorn sets its own loggers up after this file: it is to leave what it has to say to ours.
logconfig_dict = {
    "handlers": {"json": {"()": logs.make_handler}},
    "root": {"level": "INFO", "handlers": ["json"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}

_LOOK_SECONDS = 0.1


def post_worker_init(worker: Any) -> None:
    """Start what runs beside the requests, after the fork; and wait for the end, to take leave of the readers."""
    services = services_of(worker.wsgi)
    services.start()
    gc.freeze()  # what is there now stays; looking through it again and again would hold up every stream
    worker.farewell = gevent.spawn(_take_leave, worker, services)


def worker_exit(server: Any, worker: Any) -> None:
    """Let the farewell be over before the process is."""
    farewell = getattr(worker, "farewell", None)
    if farewell is not None:
        farewell.join(graceful_timeout)


def _take_leave(worker: Any, services: Services) -> None:
    # Not only in `worker_exit`: before that gunicorn waits for the streams and the waits that it still serves itself.
    while worker.alive:
        gevent.sleep(_LOOK_SECONDS)
    services.hub.drain(_settings.worker.shutdown_grace_seconds, worker.notify)
