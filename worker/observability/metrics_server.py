"""The address at which a worker process serves its own metrics, as Prometheus expects of each process."""

import hmac
import os
import socket
from collections.abc import Iterable
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger

PATH = "/metrics"
_STOP_SECONDS = 1.0

_log = get_logger(__name__)


class MetricsServer:
    """Serves a registry over HTTP, to clients that send the token if there is one."""

    def __init__(self, registry: CollectorRegistry, address: str, port: int, token: str) -> None:
        self._registry = registry
        self._place = (address, port)
        self._token = token
        self._server: Any = None

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
        self._server = WSGIServer(listener, self._respond, log=None, error_log=None)
        self._server.start()
        _log.info("metrics_served", address=address, port=port)

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
            self._server = None

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status, kind, body = self._response(environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _response(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            return "404 Not Found", "text/plain", b"GET /metrics has the metrics of this worker.\n"
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        is_known = scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode())
        if self._token and not is_known:
            return "401 Unauthorized", "text/plain", b"Send the token of MILLRACE_METRICS_TOKEN as a bearer token.\n"
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
