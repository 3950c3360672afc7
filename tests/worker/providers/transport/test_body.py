"""Reading bodies over real sockets: whole ones, cut ones, and the connection after each."""

import gzip
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest
import urllib3
from gevent.event import Event
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.transport import body as body_module
from millrace.worker.providers.transport.body import Body
from tests.tls_redis import Authority
from tests.worker.harness import wait_until
from tests.worker.providers.http_server import Answer, chunked, hang, plain, serving

OpenBody = Callable[[str], Body]


@pytest.fixture
def open_body() -> Iterator[OpenBody]:
    pools = urllib3.PoolManager(timeout=5)
    yield lambda url: Body(pools.request("GET", url, preload_content=False, decode_content=False))  # pyright: ignore[reportArgumentType]
    pools.clear()


def test_a_body_in_any_framing_is_read_and_its_connection_reused(open_body: OpenBody) -> None:
    pieces = [b"a", b"b" * 40_000, "é\r\n".encode()]
    whole = b"".join(pieces)
    compressed = gzip.compress(whole)
    answers = [
        chunked(pieces),
        plain(200, whole),
        plain(200, b""),
        plain(200, compressed, "text/event-stream", "Content-Encoding: gzip"),
        chunked([compressed[:5], compressed[5:]]).replace(b"\r\nTransfer", b"\r\nContent-Encoding: gzip\r\nTransfer"),
    ]
    for answer in answers:
        with serving(answer) as server:
            for _ in range(3):
                with closing(open_body(server.url)) as body:
                    assert body.read(10**6) == (b"" if answer == answers[2] else whole)
            assert server.connections == 1, answer[:200]


def close_after(answer: bytes) -> Answer:
    def send(connection: Any, _request: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    return send


def test_a_body_that_ends_with_its_connection_is_whole(open_body: OpenBody) -> None:
    for head in (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"):
        with serving(close_after(head + b"abc")) as server, closing(open_body(server.url)) as body:
            assert b"".join(body) == b"abc"
            wait_until(lambda server=server: server.closed_at, "the close")
    answer = chunked([b"abc"]).replace(b"\r\nTransfer", b"\r\nConnection: close\r\nTransfer")
    with serving(close_after(answer)) as server, closing(open_body(server.url)) as body:
        assert b"".join(body) == b"abc"


def test_pieces_that_arrive_with_damage_stand_and_nothing_more_is_waited_for(open_body: OpenBody) -> None:
    def send(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked([b"abc", b"de"], end=b"HTTP/1.1 502 Bad Gateway\r\n"))
        hang(connection)

    with serving(send) as server, closing(open_body(server.url)) as body:
        pieces = iter(body)
        found = b""
        while found != b"abcde":
            found += next(pieces)
        with pytest.raises(ProtocolError):
            next(pieces)


def test_a_body_that_is_cut_off_is_an_error_after_its_pieces(open_body: OpenBody) -> None:
    for answer in (chunked([b"abc"], end=b""), plain(200, b"abcd")[:-1], chunked([b"abc"], end=b"5\r\nx")):
        received: list[bytes] = []

        def read(url: str, received: list[bytes] = received) -> None:
            with closing(open_body(url)) as body:
                for piece in body:
                    received += [piece]

        with serving(close_after(answer)) as server:
            with pytest.raises(ProtocolError):
                read(server.url)
            assert b"".join(received).startswith(b"abc")
            wait_until(lambda server=server: server.closed_at, "the close")


def test_a_body_that_is_too_long_is_an_error(open_body: OpenBody) -> None:
    with (
        serving(chunked([b"x" * 100])) as server,
        closing(open_body(server.url)) as body,
        pytest.raises(ProtocolError, match="longer than 99 bytes"),
    ):
        body.read(99)


def test_a_connection_is_reused_if_the_body_ends_soon_after_the_last_event_and_closed_if_it_does_not(
    open_body: OpenBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "DRAIN_SECONDS", 0.7)  # for a busy machine
    ends = {b"/soon": b"0\r\n\r\n", b"/never": b"", b"/cut": b"zz\r\n"}

    def answer(connection: Any, request: bytes) -> None:
        connection.sendall(chunked([b"data: [DONE]\n\n"], end=b""))
        gevent.sleep(0.02)
        connection.sendall(ends[request.split(b" ")[1]])

    for path, connections in ((b"/soon", 1), (b"/never", 3), (b"/cut", 3)):
        with serving(answer) as server:
            for _ in range(3):
                with closing(open_body(server.url + path.decode())) as body:
                    for piece in body:
                        if b"[DONE]" in piece:
                            break
                    body.drain()
                    body.drain()
            assert server.connections == connections, path
            wait_until(
                lambda server=server, path=path: len(server.closed_at) == (3 if path != b"/soon" else 0), "close"
            )


def test_the_socket_timeout_is_restored(open_body: OpenBody) -> None:
    with serving(chunked([b"abc"])) as server, closing(open_body(server.url)) as body:
        sock = body._http.fp.raw._sock
        assert b"".join(body) == b"abc"
        assert sock.gettimeout() == 5


def test_body_that_tls_decrypted_with_the_headers_is_read_without_waiting_for_more(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    own, all_read, whole = authority.sign("server"), Event(), b"x" * 12_000  # more than the buffer of the headers
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own.certificate, own.key)

    def answer(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked([whole], end=b""))  # in one record, with the headers
        all_read.wait()
        connection.sendall(b"0\r\n\r\n")

    with serving(answer, tls) as server, urllib3.PoolManager(ca_certs=str(authority.file), timeout=5) as pools:
        url = server.url.replace("http:", "https:")
        received = b""
        with closing(Body(pools.request("GET", url, preload_content=False))) as body:  # pyright: ignore[reportArgumentType]
            for piece in body:
                received += piece
                if received == whole:
                    all_read.set()
    assert received == whole


def test_a_server_that_stops_sending_times_out(open_body: OpenBody) -> None:
    def answer(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked([b"abc"], end=b""))
        hang(connection)

    with serving(answer) as server, closing(open_body(server.url)) as body:
        body._http.fp.raw._sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            list(body)
