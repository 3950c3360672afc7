"""Attacks on the server itself: half-sent requests, false lengths, clients that read nothing. Others notice nothing."""

import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.webapp.gunicorn_worker import (
    PIECE_BYTES,
    WAITING_CONNECTIONS,
    UnsentResponses,
    in_pieces,
)
from millrace.worker.contract.events import Complete, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.redis.connection import connect
from millrace.worker.settings.schema import Settings
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion
from millrace.worker.store.migration import migrate
from tests.bare import UNLIMITED
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.test_gunicorn_config import serving

BODY_SECONDS = 3
STALL_SECONDS = 2
UNREAD = 40
HEAD = "Host: h\r\nX-User: {user}\r\nContent-Type: application/json\r\n"
ANSWER_BYTES = 500_000
MAX_UNSENT_BYTES = 8 << 20
COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "model", "bedrock", "m", stored=True)


class Server:
    """A running web process and its database."""

    def __init__(self, port: int, pid: int, database: Database, redis_url: str, log: Path) -> None:
        self.port = port
        self.database = database
        self._pid = pid
        self._log = log
        self.redis = connect(redis_url)

    def send(self, text: str | bytes, receive_buffer: int = 0) -> socket.socket:
        """Connect, send this, and return the connection."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(text.encode() if isinstance(text, str) else text)
        return connection

    def status(self, text: str | bytes, *, ends: bool = False) -> int:
        """Send a request, with `ends` also the end of the connection, and return the status of the response."""
        with self.send(text) as connection:
            if ends:
                connection.shutdown(socket.SHUT_WR)
            return int(connection.recv(4096).split(b" ")[1])

    def check_honest_user(self) -> None:
        """Check that the health check answers and that a user can ask."""
        assert self.status("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n") == 200
        user = new_id()
        body = json.dumps({"message": "hello"})
        request = f"POST /api/generations HTTP/1.1\r\n{HEAD.format(user=user)}Content-Length: {len(body)}\r\n\r\n{body}"
        assert self.status(request) == 202

    def generations(self) -> int:
        """Return how many generations Redis has."""
        return len(self.redis.keys("*:state"))  # type: ignore[arg-type]

    def log(self) -> str:
        """Return what the server has logged."""
        return self._log.read_text()

    def count_cut(self) -> int:
        """Return how many clients were cut off because they took nothing."""
        return self.log().count("client_stalled") + self.log().count("unread_response_cut")

    def cpu_seconds(self) -> float:
        """Return the processor time that the process that serves has used."""
        (child,) = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        user, system = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Return the memory of the process that serves."""
        (child,) = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        line = next(line for line in Path(f"/proc/{child}/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def server(store: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    directory = tmp_path_factory.mktemp("web")
    settings = Settings.of(database_url=f"sqlite:///{directory / 'millrace.db'}", database_seconds=20)
    migrate(settings)
    given = {**UNLIMITED, "auth": "header", "auth_header": "X-User"}
    given |= {"body_seconds": BODY_SECONDS, "reader_stall_seconds": STALL_SECONDS, "max_readers": 10}
    given |= {"max_unsent_bytes": MAX_UNSENT_BYTES, "database_seconds": 20}
    with serving(store.url, directory / "log", **given) as (process, port):
        database = Database(settings)
        yield Server(port, process.pid, database, store.url, directory / "log")
        database.close()
        assert "Traceback" not in (directory / "log").read_text()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed the connection, with 408 if it has answered."""
    connection.setblocking(False)
    try:
        while received := connection.recv(65_536):
            assert received.startswith(b"HTTP/1.1 408 "), received
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_half_sent_requests_keep_no_one_out_and_are_cut(server: Server) -> None:
    head = HEAD.format(user="attacker")
    conversation = new_id()
    question = StoredQuestion(new_id(), "attacker", conversation, "q")
    answer = StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), "a", COMPLETE)
    assert server.database.run(lambda session: save_answer(session, question, answer))
    halves = [
        f'POST /api/generations HTTP/1.1\r\n{head}Content-Length: 500\r\n\r\n{{"message": "half',
        f"PATCH /api/conversations/{conversation}/context HTTP/1.1\r\n{head}Content-Length: 500\r\n\r\n{{",
        f"POST /api/generations HTTP/1.1\r\n{head}",
    ]
    before = server.generations()
    with ExitStack() as stack:
        opened = [
            stack.enter_context(server.send(halves[number % len(halves)]))
            for number in range(WAITING_CONNECTIONS + 200)
        ]
        server.check_honest_user()
        wait_for(lambda: all(map(is_closed, opened)), 10 * BODY_SECONDS, "the end of all half-sent requests")
    assert server.generations() == before + 1, "a half-sent request was executed"


def is_still_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return True
    except ConnectionResetError:
        pass
    return False


def test_unread_pages_take_little_memory_and_are_cut(server: Server) -> None:
    conversation = new_id()
    for _ in range(30):
        question = StoredQuestion(new_id(), "ada", conversation, "q")
        answer = StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), "a" * ANSWER_BYTES, COMPLETE)
        assert server.database.run(lambda session, q=question, a=answer: save_answer(session, q, a))
    head = HEAD.format(user="ada")
    page = f"GET /api/conversations/{conversation}/messages?limit=100 HTTP/1.1\r\n{head}\r\n"
    before = server.resident_bytes()
    with ExitStack() as stack:
        unread = [stack.enter_context(server.send(page, receive_buffer=4096)) for _ in range(UNREAD)]
        server.check_honest_user()
        grown = server.resident_bytes() - before
        assert grown < UNREAD * 4 * ANSWER_BYTES, f"{grown >> 20} MB for {UNREAD} pages"
        wait_for(lambda: server.count_cut() >= UNREAD, 10 * STALL_SECONDS, "the end of them all")
        # The kernel delivers the rest of its buffers before the end.
        wait_for(lambda: not any(map(is_still_open, unread)), what="the end of every connection")
    server.check_honest_user()


def test_unread_answers_are_cut_off_where_they_would_fill_the_memory(server: Server) -> None:
    question = StoredQuestion(new_id(), "ada", new_id(), "q")
    answer = StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), "a" * (2 << 20), COMPLETE)
    assert server.database.run(lambda session: save_answer(session, question, answer))
    head = f"{HEAD.format(user='ada')}Connection: close\r\n"
    get = f"GET /api/generations/{answer.generation} HTTP/1.1\r\n{head}\r\n"
    assert server.status(get) == 200
    before, cut = server.resident_bytes(), server.count_cut()
    with ExitStack() as stack:
        unread = [stack.enter_context(server.send(get, receive_buffer=4096)) for _ in range(UNREAD)]
        server.check_honest_user()
        sizes: list[int] = []

        def have_all_ended() -> bool:
            sizes.append(server.resident_bytes())
            return server.count_cut() >= cut + UNREAD

        wait_for(have_all_ended, what="the end of them all")
        grown = max(sizes) - before
        assert grown < 5 * MAX_UNSENT_BYTES, f"{grown >> 20} MB for {UNREAD} answers"
        wait_for(lambda: not any(map(is_still_open, unread)), what="the end of every connection")
    server.check_honest_user()


@pytest.mark.parametrize(
    "body",
    [
        'Content-Length: 500\r\n\r\n{"message": "a"}',
        'Transfer-Encoding: chunked\r\n\r\n10\r\n{"message": "a"}\r\n',
        'Transfer-Encoding: chunked\r\n\r\n0x10\r\n{"message": "a"}\r\n0\r\n\r\n',
        'Transfer-Encoding: chunked\r\n\r\n-5\r\n{"message": "a"}\r\n0\r\n\r\n',
        'Transfer-Encoding: chunked\r\n\r\n10\r\n{"message": "a"}\r\nx\r\n\r\n',
    ],
    ids=["short", "no last chunk", "0x", "negative", "no number"],
)
def test_body_of_a_false_length_is_400_and_not_executed(server: Server, body: str) -> None:
    before = server.generations()
    request = f"POST /api/generations HTTP/1.1\r\n{HEAD.format(user='ada')}{body}"
    assert server.status(request, ends=True) == 400
    assert server.generations() == before
    server.check_honest_user()


@pytest.mark.parametrize(
    "line", ["GET /\x1b[31m\x00\u2028 HTTP/9.9", "\x1b]0;title\x07 / HTTP/1.1", "GET /\x9b HTTP/1.1\r\nna\x1bme: a"]
)
def test_hostile_request_line_is_escaped_in_the_log(server: Server, line: str) -> None:
    before = len(server.log())
    assert server.status(f"{line}\r\n\r\n", ends=True) == 400
    wait_for(lambda: "Invalid" in server.log()[before:], 30, "the log line")
    for logged in server.log()[before:].removesuffix("\n").split("\n"):
        assert logged.isascii()
        assert logged.isprintable(), logged
        assert json.loads(logged)["event"].isprintable(), logged


def test_a_body_that_is_rejected_unread_takes_no_longer_than_one_that_is_read(server: Server) -> None:
    body = b"[" * (1 << 20)
    taken: dict[int, float] = {}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60, trust_env=False) as client:
        for kind, status in (("application/json", 400), ("text/plain", 415)):
            headers = {"X-User": new_id(), "Content-Type": kind}
            before = server.cpu_seconds()
            for _ in range(20):  # on one connection, on which the next request begins after the whole body
                assert client.post("/api/generations", content=body, headers=headers).status_code == status
            taken[status] = server.cpu_seconds() - before
    assert taken[415] < 2 * taken[400] + 0.1


def test_a_rejected_body_without_an_end_closes_its_connection(server: Server) -> None:
    head = HEAD.format(user="attacker").replace("json", "xml") + f"Content-Length: {1 << 40}\r\n"
    with server.send(f"POST /api/generations HTTP/1.1\r\n{head}\r\n") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 415 ")
        wait_for(lambda: is_cut_while_sending(connection))
    server.check_honest_user()


def is_cut_while_sending(connection: socket.socket) -> bool:
    try:
        connection.sendall(bytes(1 << 20))
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_responses_are_cut_into_pieces_that_add_up() -> None:
    parts = [b"", b"a" * 10, b"b" * (2 * PIECE_BYTES + 1)]
    environ: dict[str, Any] = {"wsgi.file_wrapper": bytearray, "gunicorn.socket": None}
    pieces = list(in_pieces(lambda _environ, _start: parts, UnsentResponses(1))(environ, None))
    assert b"".join(pieces) == b"".join(parts)
    assert max(map(len, pieces)) == PIECE_BYTES


def test_client_that_has_taken_nothing_for_longest_is_cut_off_first() -> None:
    unsent, ends = UnsentResponses(100), [socket.socketpair() for _ in range(3)]
    with ExitStack() as stack:
        (first, _), (second, _), (third, _) = [tuple(map(stack.enter_context, pair)) for pair in ends]
        unsent.add(first, 50)
        unsent.add(second, 50)
        unsent.take(first, 10)
        unsent.add(third, 40)
        assert [_is_shut(peer) for _, peer in ends] == [False, True, False]
        unsent.take(second, 50)  # no effect: it is closed
        unsent.remove(third)
        unsent.add(third, 60)
        assert [_is_shut(peer) for _, peer in ends] == [False, True, False]


def _is_shut(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return not peer.recv(1)
    except BlockingIOError:
        return False
