"""The HTTP client over real sockets: requests, rejections, connections and their ends."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from millrace.worker.errors import GenerationFailed, ProviderError, SettingError
from millrace.worker.interrupt import CancelRequested, Interrupt
from millrace.worker.providers.transport.client import HttpClient
from millrace.worker.providers.transport.errors import Rejection
from tests.valkey import free_port
from tests.worker.harness import wait_until
from tests.worker.providers.http_server import HttpServer, chunked, hang, plain, serving

MakeClient = Callable[..., HttpClient]
CLOSE_SECONDS = 4.0  # far more than it takes, and less than any time limit of the client's own


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    clients: list[HttpClient] = []

    def make(url: str, *, read_seconds: float = 5, refine: Any = lambda _rejection: None) -> HttpClient:
        clients.append(HttpClient("test", url, concurrency=10, read_seconds=read_seconds, refine=refine))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def read(client: HttpClient, url: str, **options: Any) -> bytes:
    with client.open_stream("POST", url, {}, {}, **options) as response:
        return b"".join(response.body)


def fail(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def test_a_request_is_json_with_the_headers_of_the_wire_and_valid_unicode(make_client: MakeClient) -> None:
    with serving(chunked([b"data: 1\n\n"])) as server:
        client = make_client(server.url)
        body = {"text": "é\ud83d\u2028", "list": [1]}
        with client.open_stream("POST", f"{server.url}/v1/x?y=1", {"Authorization": "Bearer k"}, body) as response:
            assert b"".join(response.body) == b"data: 1\n\n"
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/x?y=1 HTTP/1.1"
    for line in ("Authorization: Bearer k", "Content-Type: application/json", "Accept: text/event-stream"):
        assert line in lines
    assert json.loads(sent) == {"text": "é?\u2028", "list": [1]}


def test_a_rejection_has_the_code_of_its_status_or_of_the_wire(make_client: MakeClient) -> None:
    seen: list[Rejection] = []

    def refine(rejection: Rejection) -> GenerationFailed | None:
        seen.append(rejection)
        is_filtered = rejection.fields.get("code") == "content_filter"
        return ProviderError("content_filtered", retryable=False) if is_filtered else None

    answers = {
        b"/429": plain(429, b'{"error": {"message": "slow"}}', "application/json", "Retry-After: 3"),
        b"/filter": plain(400, b'{"error": {"code": "content_filter"}}'),
        b"/307": plain(307, b"", "text/plain", "Location: /elsewhere"),
        b"/html": plain(200, b"<html>", "text/html; charset=utf-8"),
        b"/long": plain(500, b"x" * 10_000_000, "text/plain"),
        b"/cut": plain(403, b"no").replace(b"Length: 2", b"Length: 9"),
    }

    def answer(connection: Any, request: bytes) -> None:
        path = request.split(b" ")[1]
        connection.sendall(answers[path])
        if path == b"/cut":
            connection.shutdown(socket.SHUT_WR)

    with serving(answer) as server:
        client = make_client(server.url, refine=refine)
        found = {path: fail(lambda path=path: read(client, server.url + path.decode())) for path in answers}
        paths = [request.split(b" ")[1] for request in server.requests]
    assert {path: error.code for path, error in found.items()} == {
        b"/429": "provider_throttled",
        b"/filter": "content_filtered",
        b"/307": "provider_unavailable",
        b"/html": "provider_unavailable",
        b"/long": "provider_unavailable",
        b"/cut": "provider_authentication",
    }
    assert found[b"/429"].retry_after == 3
    causes = [str(found[path].__cause__) for path in (b"/429", b"/307", b"/html", b"/cut")]
    html = "200 with text/html, not text/event-stream"
    assert causes == ["429 slow", "307", html, "403"], "the service's own words, for an operator"
    assert paths == list(answers), "no request is repeated, and no redirect followed"
    assert max(len(rejection.body) for rejection in seen) <= 65_536


def test_a_service_that_cannot_be_reached_is_unavailable_and_a_silent_one_times_out(make_client: MakeClient) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error = fail(lambda: read(make_client(url), url))
    assert (error.code, error.is_transient) == ("provider_unavailable", True)
    for pieces in (None, [], [b"data: 1\n\n"]):

        def answer(connection: Any, _request: bytes, pieces: list[bytes] | None = pieces) -> None:
            connection.sendall(b"" if pieces is None else chunked(pieces, end=b""))
            hang(connection)

        with serving(answer) as server:
            error = fail(lambda server=server: read(make_client(server.url, read_seconds=0.2), server.url))
            assert (error.code, error.is_transient) == ("provider_timeout", False), pieces
            wait_until(lambda server=server: server.closed_at, "the close")


def interrupt_while(server: HttpServer, run: Callable[[list[bytes]], object], is_ready: Callable[[list[bytes]], Any]):
    """Raise in the greenlet that runs, once it is ready; return the seconds until the server saw the close."""
    interrupts: list[Interrupt] = []
    received: list[bytes] = []

    def reader() -> str:
        interrupts.append(Interrupt())
        try:
            with interrupts[0].armed():
                run(received)
        except CancelRequested:
            return "interrupted"
        return "whole"

    running = gevent.spawn(reader)
    wait_until(lambda: is_ready(received), "the moment")
    closed = len(server.closed_at)
    started_at = time.monotonic()
    interrupts[0].trigger(CancelRequested("user"))
    assert running.get(timeout=30) == "interrupted"
    wait_until(lambda: len(server.closed_at) > closed, "the close")
    return server.closed_at[closed] - started_at


@pytest.mark.parametrize("connection_header", ["keep-alive", "close"])
def test_an_interrupt_closes_the_socket_at_once_and_other_streams_go_on(
    make_client: MakeClient, connection_header: str
) -> None:
    def answer(connection: Any, request: bytes) -> None:
        if request.startswith(b"POST /silent"):
            hang(connection)
        head = chunked([], end=b"").replace(b"\r\n\r\n", f"\r\nConnection: {connection_header}\r\n\r\n".encode())
        connection.sendall(head + b"3\r\nabc\r\n")
        if request.startswith(b"POST /other"):
            gevent.sleep(0.5)
            connection.sendall(b"0\r\n\r\n")
        hang(connection)

    with serving(answer) as server:
        client = make_client(server.url, read_seconds=60)

        def stream(received: list[bytes], path: str = "/") -> None:
            with client.open_stream("POST", server.url + path, {}, {}) as response:
                for piece in response.body:
                    received.append(piece)  # noqa: PERF402 - kept if the stream fails

        others: list[list[bytes]] = [[] for _ in range(5)]
        running = [gevent.spawn(stream, each, "/other") for each in others]
        wait_until(lambda: all(others), "the other streams")
        assert interrupt_while(server, stream, len) <= CLOSE_SECONDS
        requests = len(server.requests)
        silent: Callable[[list[bytes]], object] = lambda received: stream(received, "/silent")  # noqa: E731
        assert interrupt_while(server, silent, lambda _: len(server.requests) > requests) <= CLOSE_SECONDS
        gevent.joinall(running, timeout=30, raise_error=True)
        assert others == [[b"abc"]] * 5


def test_an_interrupt_during_the_tls_handshake_closes_the_socket(make_client: MakeClient) -> None:
    def never(connection: Any, _request: bytes) -> None:
        hang(connection)

    with serving(never) as server:
        url = server.url.replace("http:", "https:")
        run: Callable[[list[bytes]], object] = lambda _: read(make_client(url), url)  # noqa: E731
        assert interrupt_while(server, run, lambda _: server.connections) <= CLOSE_SECONDS


def test_closing_the_reader_closes_the_socket(make_client: MakeClient) -> None:
    def answer(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked([b"a"], end=b""))
        hang(connection)

    with serving(answer) as server:
        with make_client(server.url).open_stream("POST", server.url, {}, {}) as response:
            assert next(iter(response.body)) == b"a"
        wait_until(lambda: server.closed_at, "the close")


def test_a_certificate_is_verified(make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    files = {"certfile": tmp_path / "cert.pem", "keyfile": tmp_path / "key.pem"}
    files["certfile"].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files["keyfile"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certfile"], files["keyfile"])
    with serving(chunked([b"a"]), context) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        assert fail(lambda: read(make_client(url), url)).code == "provider_unavailable"
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(files["certfile"]))
        assert read(make_client(url), url) == b"a"
        other = url.replace("localhost", "127.0.0.1")
        assert fail(lambda: read(make_client(other), other)).code == "provider_unavailable", "another name"


def test_a_server_behind_tls_is_reached_through_the_proxy_of_the_environment(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(plain(403, b"")) as proxy:
        address = proxy.url.replace("http://", "http://user:p%40ss@")
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, address)
        with serving(chunked([b"a"])) as server:
            assert read(make_client(server.url), server.url) == b"a"
        assert not proxy.requests
        error = fail(lambda: read(make_client("https://api.example.com"), "https://api.example.com/v1"))
        assert error.code == "provider_unavailable"
        assert proxy.requests[0].startswith(b"CONNECT api.example.com:443 ")
        assert b"authorization: basic dxnlcjpwqhnz" in proxy.requests[0].lower()
        monkeypatch.setenv("NO_PROXY", "example.invalid")
        assert fail(lambda: read(make_client("https://a.example.invalid"), "https://a.example.invalid/")).code
        assert len(proxy.requests) == 1


def test_a_proxy_of_another_kind_is_named_at_the_start_without_its_password(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy, shown in (("socks5h://u:secret@proxy:1080", "socks5h://proxy:1080"), ("http://proxy:99999", ":99999")):
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        with pytest.raises(SettingError, match=r"^HTTPS_PROXY: takes http://HOST:PORT") as raised:
            make_client("https://api.example.com")
        assert shown in str(raised.value)
        assert "secret" not in str(raised.value)
