"""Data on a socket is read whole and in order, plain or encrypted, and its end is reported once."""

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gevent import socket
from gevent import ssl as gevent_ssl

from millrace.webapp.relay.bulk_reader import BulkReader
from tests.client import wait_for

Pair = tuple[Any, Any]
BYTES = bytes(number * 7 % 251 for number in range(300_000))


class ReceivedData:
    """The data and the ends that a BulkReader has reported."""

    def __init__(self, sock: Any) -> None:
        self.parts: list[bytes] = []
        self.ends: list[Exception] = []
        self.fails = False
        self.reader = BulkReader(sock, self._on_data, self.ends.append)

    @property
    def bytes(self) -> bytes:
        return b"".join(self.parts)

    def _on_data(self, buffer: bytearray, count: int) -> None:
        if self.fails:
            raise ZeroDivisionError
        self.parts.append(bytes(buffer[:count]))


def plain(_: Path) -> Pair:
    return socket.socketpair()


def encrypted(directory: Path) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    signed = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("redis")]), critical=False
    )
    pem = directory / "own.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    ours, theirs = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_verify_locations(pem)
    theirs.load_cert_chain(pem)
    here, there = socket.socketpair()
    server = gevent.spawn(theirs.wrap_socket, there, server_side=True)
    client = ours.wrap_socket(here, server_hostname="redis")
    return client, server.get()


@pytest.fixture(params=[plain, encrypted])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    make: Callable[[Path], Pair] = request.param
    pair = make(tmp_path)
    yield pair
    for each in pair:
        each.close()


@pytest.fixture
def received(pair: Pair) -> Iterator[ReceivedData]:
    received = ReceivedData(pair[0])
    yield received
    received.reader.stop()


def test_all_bytes_arrive_in_order_and_the_end_once(pair: Pair, received: ReceivedData) -> None:
    _, there = pair
    there.sendall(b"first")
    wait_for(lambda: received.bytes == b"first", 30, "the first bytes")
    there.sendall(BYTES)
    wait_for(lambda: received.bytes == b"first" + BYTES, 30, "all bytes")
    assert received.ends == []
    there.close()
    wait_for(lambda: received.ends, 30, "the end")
    gevent.sleep(0.05)
    assert len(received.ends) == 1
    assert isinstance(received.ends[0], OSError)


def test_exception_of_the_callback_ends_the_reading(pair: Pair, received: ReceivedData) -> None:
    _, there = pair
    received.fails = True
    there.sendall(b"x")
    wait_for(lambda: received.ends, 30, "the end")
    there.sendall(b"y")
    gevent.sleep(0.05)
    assert [type(end) for end in received.ends] == [ZeroDivisionError]


def test_rapid_messages_are_read_in_bulk(pair: Pair, received: ReceivedData) -> None:
    _, there = pair
    for _ in range(200):
        there.sendall(b"x")
        gevent.sleep(0.0005)
    wait_for(lambda: len(received.bytes) == 200, 30, "all bytes")
    assert len(received.parts) < 150


def test_stopped_reader_gets_nothing(pair: Pair, received: ReceivedData) -> None:
    _, there = pair
    received.reader.stop()
    there.sendall(b"x")
    gevent.sleep(0.05)
    assert received.parts == received.ends == []
