"""Probes of servers and processes."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy.system.ports import claim
from deploy.system.probes import _process_tree_from, children_of, http_get, valkey_answers
from tests.client import wait_for


def test_closed_port_is_no_answer() -> None:
    port = claim(0, "--port", set())
    assert not valkey_answers(port)
    status, reason = http_get(f"http://127.0.0.1:{port}", "/readyz")
    assert status == 0
    assert "refused" in reason


def test_server_that_is_loading_its_data_does_not_answer_yet() -> None:
    def answer(server: socket.socket, reply: bytes) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(64)
            connection.sendall(reply)

    for reply, password, is_ready in (
        (b"-LOADING Redis is loading\r\n", "", False),
        (b"+PONG\r\n", "", True),
        (b"+OK\r\n-LOADING Redis is loading\r\n", "secret", False),
        (b"+OK\r\n+PONG\r\n", "secret", True),
        (b"-WRONGPASS invalid\r\n-NOAUTH Authentication required.\r\n", "secret", False),
    ):
        with socket.create_server(("127.0.0.1", 0)) as server:
            answering = threading.Thread(target=answer, args=(server, reply))
            answering.start()
            assert valkey_answers(server.getsockname()[1], password) == is_ready
            answering.join()


def test_children_are_found_without_ps_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children_of([os.getpid()])
        if Path("/proc/self/stat").exists():
            assert _process_tree_from(Path("/proc"))[child.pid][0] == os.getpid()
            monkeypatch.setenv("PATH", "/nonexistent")
            assert child.pid in children_of([os.getpid()])
        assert child.stdin
        child.stdin.close()
        wait_for(lambda: child.pid not in children_of([os.getpid()]))  # a zombie until the end of the block
