"""Ports that are taken are named with their flag."""

import socket

import pytest

from deploy.ports import FREE, claim
from deploy.refusal import Refusal


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_its_flag(address: str) -> None:
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Refusal, match=rf"^port {port} is taken by another program; choose another one with --port"):
            claim(port, "--port", set())


def test_a_port_whose_last_connections_linger_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", claim(0, "--port", set())))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # who closes first is in TIME_WAIT
            client.recv(1)
    assert claim(port, "--port", set()) == port


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    taken: set[int] = set()
    ports = [claim(0, "--port", taken) for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(port in FREE for port in ports)


def test_two_flags_with_one_port_are_refused() -> None:
    taken: set[int] = set()
    port = claim(claim(0, "--port", set()), "--port", taken)
    with pytest.raises(Refusal, match=f"--redis-port {port}: another flag"):
        claim(port, "--redis-port", taken)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_no_port_at_all_is_refused(port: int) -> None:
    with pytest.raises(Refusal, match="takes a port from 0 to 65535"):
        claim(port, "--port", set())
