"""The gunicorn configuration: `gunicorn -c python:millrace.webapp.gunicorn_config 'millrace.webapp:create_app()'`.

A host application with mounts uses it in the same way: it starts and drains every mount of the process.
"""

# ruff: noqa: E402 - patched before anything imports urllib3 or redis, which keep the ssl module's classes as they find
# them (https://github.com/boto/boto3/issues/4061).

from gevent import monkey

monkey.patch_all()

import gc
import os
import shutil
import sys
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import gevent
from gunicorn.http import message
from prometheus_client import CollectorRegistry

from millrace.webapp import settings
from millrace.webapp.descriptors import connections
from millrace.webapp.extension import active_mounts
from millrace.webapp.gunicorn_worker import BoundedGeventWorker
from millrace.webapp.settings import SERVER_COMMAND
from millrace.webapp.siblings import Siblings, make_directory
from millrace.worker.errors import SettingError
from millrace.worker.observability import logs
from millrace.worker.settings import schema

T = TypeVar("T")


def read_settings(load: Callable[[], T]) -> T:
    """Return what is loaded from the settings; ends the process with one line that names what is wrong."""
    try:
        return load()
    except SettingError as error:
        sys.stderr.write(f"millrace: {error}\n")
        sys.exit(2)


# Each mount checks what it needs of its own: one with an owner function needs no MILLRACE_SECRET_KEY.
_settings = read_settings(schema.load)

worker_class = BoundedGeventWorker
BoundedGeventWorker.read_seconds = _settings.limits.body_seconds
BoundedGeventWorker.send_seconds = _settings.relay.reader_stall_seconds
BoundedGeventWorker.max_unsent_bytes = _settings.limits.max_unsent_bytes
worker_connections = read_settings(lambda: connections(_settings.relay.max_readers, _settings.relay.max_waiters))
max_requests = 0  # replacing a worker would end its streams
keepalive = 75
timeout = 60
graceful_timeout = ceil(_settings.worker.shutdown_grace_seconds) + 3
# A cursor that is much too long, in the address or in its header, gets the protocol's 400 instead of gunicorn's own.
limit_request_line = limit_request_field_size = message.MAX_REQUEST_LINE = 16 * 1024
# By default gunicorn believes these headers from every client on the same machine.
if not _settings.http.trusted_proxies:
    forwarder_headers = forwarded_allow_ips = ""
accesslog = None
# The control socket has one path per user: two systems of one user would take it from each other.
control_socket_disable = True

logs.configure()
# Gunicorn sets up its own loggers after it has read this file; these settings pass its records to ours.
logconfig_dict = {
    "handlers": {"json": {"()": logs.make_handler}},
    "root": {"level": "INFO", "handlers": ["json"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}

_POLL_SECONDS = 0.1
_directories: list[Path] = []  # the one that this gunicorn's processes find each other in, made before they start

_log = logs.get_logger(__name__)


def on_starting(server: Any) -> None:
    """End gunicorn if a flag or GUNICORN_CMD_ARGS replaces the worker class, before it starts any worker."""
    if not issubclass(server.worker_class, BoundedGeventWorker):
        settings.end(f"streams need the worker class of {SERVER_COMMAND}; remove --worker-class")
    directory = make_directory()
    if directory is not None:
        _directories.append(directory)


def on_exit(server: Any) -> None:
    """Remove the directory of this gunicorn's processes."""
    for directory in _directories:
        shutil.rmtree(directory, ignore_errors=True)


def post_worker_init(worker: Any) -> None:
    """Start the background tasks of every mount, after the fork, and wait for the signal to drain."""
    siblings = _join_siblings()
    for mount in active_mounts():
        mount.services.metrics.siblings = siblings
        mount.start()
        _log.info("mount_started", url_prefix=mount.url_prefix or "/", auth=mount.services.settings.auth.method)
    gevent.get_hub().print_exception = log_exception
    gc.freeze()  # objects that live as long as the process; collecting among them would delay every stream
    worker.drain = gevent.spawn(_drain_at_the_end, worker)


def _join_siblings() -> Siblings | None:
    if not _directories:
        return None
    siblings = Siblings(_directories[0], _registries)
    siblings.start()
    return siblings


def _registries() -> dict[int, CollectorRegistry]:
    return {each.services.metrics.serial: each.services.metrics.registry for each in active_mounts()}


def log_exception(_context: object, kind: Any, error: Any, trace: Any) -> None:
    """Log what ends a greenlet, such as a failed accept; gevent itself prints a traceback between the lines of JSON."""
    _log.error("greenlet_failed", exc_info=(kind, error, trace))


def worker_exit(server: Any, worker: Any) -> None:
    """Wait until the drain is complete."""
    drain = getattr(worker, "drain", None)
    if drain is not None:
        drain.join(graceful_timeout)
    if os.getppid() != worker.ppid:  # the gunicorn was killed, and removes nothing itself
        on_exit(server)


def _drain_at_the_end(worker: Any) -> None:
    # Not in `worker_exit`: gunicorn calls that after waiting for its own streams and requests.
    while worker.alive:
        gevent.sleep(_POLL_SECONDS)
    grace = _settings.worker.shutdown_grace_seconds
    gevent.joinall([gevent.spawn(mount.services.hub.drain, grace, worker.notify) for mount in active_mounts()])
