"""The address at which a worker process serves its own metrics, as Prometheus expects of each process."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.observability.metrics_access import may_read_metrics

PATH = "/metrics"
MAX_CONNECTIONS = 16
REQUEST_SECONDS = 10.0  # as long as Prometheus waits by default
_STOP_SECONDS = 1.0

_log = get_logger(__name__)


class MetricsServer:
    """Serves a registry over HTTP: with a token to clients that send it, without one to this machine only."""

    def __init__(self, registry: CollectorRegistry, address: str, port: int, token: str) -> None:
        self._registry = registry
        self._place = (address, port)
        self._token = token
        self._server: BoundedServer | None = None

    def start(self) -> None:
        """Listen, unless the port is 0; raises SettingError where that is not possible."""
        address, port = self._place
        if not port:
            return
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listener = socket.create_server(self._place, family=family)
        except OSError as error:
            raise SettingError(
                f"MILLRACE_METRICS_PORT: this worker can't listen at {address}, port {port} "
                f"({os.strerror(error.errno or 0)}); each worker process of a machine needs a port of its own"
            ) from error
        self._server = BoundedServer(listener, self._respond, log=None, error_log=None)
        self._server.start()
        _log.info("metrics_served", address=address, port=port)

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
            self._server = None

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status, kind, body = self._response(environ)
        # One request a connection: its deadline is then the request's.
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", 'Bearer realm="millrace metrics"'))
        start_response(status, headers)
        return [body]

    def _response(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        if not may_read_metrics(environ, self._token):
            if self._token:
                detail = b"Send the token of MILLRACE_METRICS_TOKEN as a bearer token.\n"
                return "401 Unauthorized", "text/plain", detail
            detail = b"Only clients on the worker's machine get its metrics. Set MILLRACE_METRICS_TOKEN for others.\n"
            return "403 Forbidden", "text/plain", detail
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            return "404 Not Found", "text/plain", b"GET /metrics has the metrics of this worker.\n"
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)


class BoundedServer(WSGIServer):
    """A server that closes a connection after `REQUEST_SECONDS`, and the oldest one when there are too many.

    A scrape takes milliseconds, so the oldest of many connections is one whose client is slow or sends nothing.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: dict[int, Any] = {}  # sockets, oldest first

    def handle(self, sock: Any, address: Any) -> None:
        """Handle one connection."""
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            _cut(self._open.pop(oldest))
        self._open[id(sock)] = sock
        deadline = gevent.spawn_later(REQUEST_SECONDS, _cut, sock)
        try:
            super().handle(sock, address)
        finally:
            deadline.kill(block=False)
            self._open.pop(id(sock), None)


def _cut(sock: Any) -> None:
    """End all that waits on a socket, whether it reads or writes."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
