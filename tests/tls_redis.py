"""A Redis that accepts TLS alone, with certificates of clients, and an authority made for the test.

Debian's `redis-server` has TLS; the Valkey of the other tests has none.
"""

import datetime
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.valkey import await_start, free_port

ADMIN_PASSWORD = "of-the-administrator"


def program() -> str | None:
    """Return the path of the server, None where it is not installed."""
    return shutil.which("redis-server")


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; `file` is its own, which the clients trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        self.file = directory / "authority.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, address: str = "127.0.0.1") -> Certificate:
        """Return a new certificate for an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        signed = self._builder(_name(name), key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        made = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}-key.pem")
        made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        number = x509.random_serial_number()
        return x509.CertificateBuilder(self._name, name, key.public_key(), number, now - day, now + day)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class TlsRedis:
    """The server, from `with` to the end of its block; `users` are lines of its ACL file, `options` further words.

    Several servers that talk to each other share one authority.
    """

    def __init__(
        self,
        directory: Path,
        *users: str,
        address: str = "127.0.0.1",
        authority: Authority | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self.authority = authority or Authority(directory)
        self.port = free_port()
        self._options = options
        self._server = self.authority.sign(f"server{self.port}", address)
        self.client_certificate = self.authority.sign(f"client{self.port}")
        self._acl = directory / "users.acl"
        self._acl.write_text("\n".join([f"user default on >{ADMIN_PASSWORD} ~* &* +@all", *users]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        server = program()
        assert server is not None
        files = {
            "--tls-cert-file": self._server.certificate,
            "--tls-key-file": self._server.key,
            "--tls-ca-cert-file": self.authority.file,
            "--aclfile": self._acl,
            "--dir": self._directory,
        }
        options = ["--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--maxmemory-policy", "noeviction"]
        options += [word for name, path in files.items() for word in (name, str(path))]
        self._process = subprocess.Popen([server, *options, *self._options], stdout=subprocess.DEVNULL)
        with self.client() as client:
            await_start(client, self._process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def url(self, login: str = f":{ADMIN_PASSWORD}", **changes: object) -> str:
        """Return its URL for this `user:password`, with options for TLS that `changes` replace."""
        return f"rediss://{login}@127.0.0.1:{self.port}/0?{self.options(**changes)}"

    def options(self, **changes: object) -> str:
        """Return the options of a URL for TLS with the client's certificate, with those that `changes` replace."""
        own = self.client_certificate
        given = {"ssl_ca_certs": self.authority.file, "ssl_certfile": own.certificate, "ssl_keyfile": own.key}
        return "&".join(f"{name}={value}" for name, value in (given | changes).items() if value)

    def client(self, seconds: float | None = 5.0) -> Any:
        """Return a client of the administrator, which waits so long for each reply."""
        return redis.Redis.from_url(self.url(ssl_check_hostname="no"), socket_timeout=seconds)
