"""A real gunicorn with the shipped configuration drains its clients on SIGTERM and replaces a killed worker."""

import json
import os
import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from millrace.worker.contract.redis.connection import Redis
from tests.client import wait_for
from tests.forks import ForkedProcess, fork
from tests.valkey import ValkeyProcess, free_port

ROOT = Path(__file__).parent.parent.parent
GRACE_SECONDS = 1


@contextmanager
def serving(url: str, log: Path, *flags: str, **settings: object) -> Generator[tuple[ForkedProcess, int]]:
    port = free_port()
    command = ["gunicorn", "-c", "deploy/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}", *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")} | {
        "MILLRACE_REDIS_URL": url,
        "MILLRACE_SECRET_KEY": "k" * 32,
        "MILLRACE_DATABASE_URL": f"sqlite:///{log.parent / 'millrace.db'}",
        "MILLRACE_SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS),
        **{f"MILLRACE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    process = fork([*command, "wsgi:application"], environment, log)
    try:
        wait_for(lambda: can_connect(port), 60, "gunicorn")
        yield process, port
    finally:
        process.kill()
        process.wait()


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, version: str, **fields: object) -> socket.socket:
    body = json.dumps({"message": "a", **fields})
    head = f"POST /api/generations HTTP/{version}\r\nHost: h\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def status_of(connection: socket.socket) -> bytes:
    with connection:
        return connection.recv(1000).split(b" ")[1]


def rest_of(connection: socket.socket) -> bytes:
    received = b""
    with connection:
        while part := connection.recv(65_536):
            received += part
    return received


def test_sigterm_ends_streams_with_a_retry_and_waiting_clients_with_202(
    store: ValkeyProcess, client: Redis, tmp_path: Path
) -> None:
    with serving(store.url, tmp_path / "log") as (process, port):
        taken, yielded = ask(port, "1.1", stream=True), ask(port, "1.0", stream=True)
        waiting = ask(port, "1.1", stream=False)
        early = [b"", b""]
        for number, connection in enumerate((taken, yielded)):
            while b'"queued"' not in early[number]:
                early[number] += connection.recv(65_536)
        wait_for(lambda: len(client.keys("*:state")) == 3, 30, "all three generations")  # type: ignore[arg-type]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        late = [rest_of(taken), rest_of(yielded)]
        assert all(b"retry: " in each for each in late)
        assert late[0].endswith(b"0\r\n\r\n")
        waited = rest_of(waiting)
        assert waited.startswith(b"HTTP/1.1 202 ")
        assert b'"events_url"' in waited
        assert process.wait(30) == 0
        assert time.monotonic() - began < GRACE_SECONDS + 15
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_killed_worker_is_replaced_at_once(store: ValkeyProcess, client: Redis, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(store.url, log) as (process, port):
        assert status_of(ask(port, "1.1")) == b"202"
        assert '"event": "mount_started", "url_prefix": "/", "auth": "session"' in log.read_text()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (first,) = children.read_text().split()
        os.kill(int(first), signal.SIGKILL)
        wait_for(lambda: children.read_text().split() not in ([], [first]), 30, "the next worker")
        assert status_of(ask(port, "1.1")) == b"202"


def test_proxy_headers_of_a_direct_client_are_ignored(store: ValkeyProcess, tmp_path: Path) -> None:
    body = b'{"message": "a"}'
    head = b"POST /api/generations HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    with serving(store.url, tmp_path / "log") as (_, port):
        for spoofed in (b"SCRIPT_NAME: /api\r\n", b"PATH_INFO: /healthz\r\n", b"X-Forwarded-Proto: https\r\n"):
            connection = socket.create_connection(("127.0.0.1", port), 20)
            connection.sendall(head + spoofed + length + body)
            answer = rest_of(connection)
            assert answer.startswith(b"HTTP/1.1 202 "), spoofed
            assert b"\r\nLocation: /api/generations/" in answer, spoofed
            assert b"Secure" not in answer, spoofed
        assert status_of(ask(port, "1.1")) == b"202"
