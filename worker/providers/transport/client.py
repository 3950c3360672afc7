"""The HTTP client of all wires but Bedrock's: urllib3, without retries and redirects."""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import gevent
import urllib3
from urllib3.util import Timeout, make_headers

from millrace.worker.errors import GenerationFailed, ProviderError, SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.transport.body import Body
from millrace.worker.providers.transport.errors import Rejection, ServiceRejection, map_exception
from millrace.worker.settings.parsers import is_direct

CONNECT_SECONDS = 5
REJECTION_SECONDS = 5  # for the body of an error
MAX_REJECTION_BYTES = 65_536
MAX_ANSWER_BYTES = 16 << 20  # of a whole answer in one piece

EVENT_STREAM = "text/event-stream"
JSON = "application/json"

_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),  # a stream that thinks for minutes is not cut by a firewall
    *([(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)] if hasattr(socket, "TCP_KEEPIDLE") else []),
    *([(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30)] if hasattr(socket, "TCP_KEEPINTVL") else []),
]

_log = get_logger(__name__)

Refine = Callable[[Rejection], GenerationFailed | None]
"""A wire's own reading of a rejection; None leaves it to the status."""


class Response:
    """A 2xx response whose body has not been read.

    A context manager: it closes the connection, unless the body was read to its end, and raises the exceptions of the
    connection as ProviderError.
    """

    def __init__(self, name: str, response: urllib3.HTTPResponse) -> None:
        self._name = name
        self.headers = response.headers
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self.body = Body(response)

    def __enter__(self) -> Self:
        """Return the response."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the body, and map the error."""
        self.body.close()
        if isinstance(error, Exception):
            _raise_mapped(self._name, error)


class _TlsContext(ssl.SSLContext):
    """Closes a socket whose handshake is interrupted; nobody else has a reference to it by then."""

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        wrapped = super().wrap_socket(sock, *args, **{**options, "do_handshake_on_connect": False})
        try:
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class HttpClient:
    """One pool of connections to each server, for up to `concurrency` streams at once. Greenlet-safe.

    `name` is the provider's, for the log. An `http://` server, or one of this machine, is reached directly, any other
    one through the proxy of the environment (HTTPS_PROXY, NO_PROXY). Certificates are verified against the system's.
    """

    def __init__(self, name: str, url: str, *, concurrency: int, read_seconds: float, refine: Refine) -> None:
        self._name = name
        self._refine = refine
        self._timeout = Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        options: dict[str, Any] = {
            "maxsize": concurrency,  # connections beyond it would be discarded
            "ssl_context": context,  # one for all connections: to load the certificates costs milliseconds
            "socket_options": _SOCKET_OPTIONS,
        }
        proxy = _proxy_of(url)
        self._pools = _pools_behind(proxy, options) if proxy else urllib3.PoolManager(**options)

    def close(self) -> None:
        """Close the idle connections."""
        self._pools.clear()

    def open_stream(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        expected: tuple[str, ...] = (EVENT_STREAM,),
    ) -> Response:
        """Return the response to a JSON body as soon as it has begun; raises ProviderError.

        Its content type is one of `expected`, or not stated. The caller reads it in a `with` block, which closes it.
        """
        try:
            response = self._open(method, url, {"Accept": ", ".join(expected), **headers}, body)
        except Exception as error:
            _raise_mapped(self._name, error)
            raise
        try:
            if not 200 <= response.status < 300:
                raise self._reject(response)
            opened = Response(self._name, response)  # pyright: ignore[reportArgumentType] - without preload it is one
            if opened.content_type not in ("", *expected):
                _log.warning("unexpected_content_type", provider=self._name, content_type=opened.content_type[:100])
                words = f"{response.status} with {opened.content_type[:100]}, not {' or '.join(expected)}"
                raise ProviderError("provider_unavailable", retryable=True) from ServiceRejection(words)
        except BaseException:
            response.close()
            raise
        return opened

    def ask(self, url: str, headers: Mapping[str, str], body: Any) -> bytes:
        """Return the bytes of a whole JSON response to a POST of a JSON body; raises ProviderError."""
        with self.open_stream("POST", url, headers, body, expected=(JSON,)) as response:
            return response.body.read(MAX_ANSWER_BYTES)

    def _open(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> urllib3.BaseHTTPResponse:
        # A lone surrogate, in a schema for example, would make the whole body invalid.
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return self._pools.request(
            method,
            url,
            body=data,
            headers={"Content-Type": JSON, "Accept-Encoding": "identity", "User-Agent": "millrace", **headers},
            timeout=self._timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _reject(self, response: urllib3.BaseHTTPResponse) -> GenerationFailed:
        """Return the error of a response that is not 2xx."""
        body = b""
        with gevent.Timeout(REJECTION_SECONDS, False):
            try:
                body = response.read(MAX_REJECTION_BYTES, decode_content=True)
            except (urllib3.exceptions.HTTPError, OSError):
                body = b""
        response.close()  # after a complete end the connection is in its pool already
        rejection = Rejection(response.status, response.headers, body)
        failure = self._refine(rejection) or rejection.to_error()
        _log.warning(
            "provider_call_failed",
            provider=self._name,
            status=response.status,
            type=str(rejection.fields.get("type"))[:100],
            code=failure.code,
        )
        failure.__cause__ = ServiceRejection(f"{response.status} {rejection.message}".strip())
        return failure


def _raise_mapped(name: str, error: Exception) -> None:
    """Raise ProviderError for an exception of the connection."""
    failure = map_exception(error)
    if failure is not None:
        _log.warning("provider_call_failed", provider=name, error=type(error).__name__, code=failure.code)
        raise failure from error


def _proxy_of(url: str) -> str | None:
    """Return the environment's proxy for a server, None if it is reached directly."""
    parts = urlsplit(url)
    if is_direct(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _pools_behind(proxy: str, options: Mapping[str, Any]) -> urllib3.PoolManager:
    """Return connections through a proxy; raises SettingError, without its credentials, for one of another kind."""
    credentials = make_headers(proxy_basic_auth=_credentials_of(proxy)) if "@" in proxy else None
    try:
        return urllib3.ProxyManager(proxy, proxy_headers=credentials, **options)
    except urllib3.exceptions.HTTPError as error:
        scheme, _, rest = proxy.partition("://")
        raise SettingError(
            f"HTTPS_PROXY: takes http://HOST:PORT or https://HOST:PORT, not {scheme}://{rest.rpartition('@')[2]}; "
            "ALL_PROXY counts where it is not set, and NO_PROXY names the servers that are reached directly"
        ) from error


def _credentials_of(proxy: str) -> str:
    return unquote(urlsplit(proxy).netloc.rpartition("@")[0])
