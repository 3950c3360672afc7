"""Claims of ports: taken ones, free ones, wrong ones."""

import socket

import pytest

from deploy.errors import StartError
from deploy.system.ports import FREE, claim


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_taken_port_is_rejected_with_its_number_and_flag(address: str) -> None:
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            StartError, match=rf"^port {port} is taken by another program; choose another one with --port"
        ):
            claim(port, "--port", set())


def test_port_with_connections_in_time_wait_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", claim(0, "--port", set())))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first goes into TIME_WAIT
            client.recv(1)
    assert claim(port, "--port", set()) == port


def test_free_ports_differ_and_are_below_the_range_of_outgoing_connections() -> None:
    taken: set[int] = set()
    ports = [claim(0, "--port", taken) for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(port in FREE for port in ports)


def test_two_flags_with_one_port_are_rejected() -> None:
    taken: set[int] = set()
    port = claim(claim(0, "--port", set()), "--port", taken)
    with pytest.raises(StartError, match=f"--redis-port {port}: another flag"):
        claim(port, "--redis-port", taken)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_number_that_is_no_port_is_rejected(port: int) -> None:
    with pytest.raises(StartError, match="takes a port from 0 to 65535"):
        claim(port, "--port", set())
