"""URLs of Redis: one server by TCP, with TLS or by a Unix socket, the master that Sentinel names, or a cluster.

```text
redis://[USER:PASSWORD@]HOST[:6379][/DB]                 rediss:// the same with TLS
unix://[USER:PASSWORD@]/PATH[?db=DB]
redis+sentinel://[USER:PASSWORD@]HOST[:26379],…/SERVICE[/DB]   rediss+sentinel:// with TLS, to Sentinel as well
redis+cluster://[USER:PASSWORD@]HOST[:6379],…                  rediss+cluster:// with TLS
```

Options follow after `?`, joined by `&`; `OPTIONS` lists them. A bad part stops the start, and the error names it.
"""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from millrace.worker.settings import parsers

Shape = Literal["server", "socket", "sentinel", "cluster"]

SCHEMES: Mapping[str, tuple[Shape, bool]] = MappingProxyType(
    {
        "redis": ("server", False),
        "rediss": ("server", True),
        "unix": ("socket", False),
        "redis+sentinel": ("sentinel", False),
        "rediss+sentinel": ("sentinel", True),
        "redis+cluster": ("cluster", False),
        "rediss+cluster": ("cluster", True),
    }
)
"""Each scheme with its shape, and whether it uses TLS."""

_DEFAULT_PORT, _SENTINEL_PORT = 6379, 26379
_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_MAX_PORT = 65535


@dataclass(frozen=True)
class TlsOptions:
    """The verification of the server, and the client's own certificate; the names are those of the URL's options."""

    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    ssl_min_version: ssl.TLSVersion | None = None


@dataclass(frozen=True)
class RedisAddress:
    """A parsed URL. `places` are hosts with ports: of the server, of the sentinels, or of some nodes of the cluster."""

    shape: Shape
    places: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    protocol: int | None = None
    tls: TlsOptions | None = None

    @property
    def place(self) -> str:
        """The hosts and ports, or the path, for a message; no password."""
        if self.shape == "socket":
            return self.path
        places = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.places)
        if self.shape == "sentinel":
            return f"{self.service} of the sentinels {places}"
        return f"the cluster of {places}" if self.shape == "cluster" else places


def _file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError("takes the path of a file that exists")
    return value


def _tls_version(value: str) -> ssl.TLSVersion:
    return _TLS_VERSIONS[parsers.choice(*_TLS_VERSIONS)(value)]


_Parser = Callable[[str], Any]

_ANY_OPTIONS: dict[str, _Parser] = {
    "db": parsers.whole(0, 1_000_000),
    "username": parsers.text,
    "password": parsers.text,
    "client_name": parsers.matching(r"[!-~]+", "a name of ASCII characters without spaces"),
    "protocol": lambda value: int(parsers.choice("2", "3")(value)),
}
_TLS_OPTIONS: dict[str, _Parser] = {
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": parsers.text,
    "ssl_cert_reqs": parsers.choice("required", "optional", "none"),
    "ssl_check_hostname": parsers.flag,
    "ssl_min_version": _tls_version,
}
_SENTINEL_OPTIONS: dict[str, _Parser] = {"sentinel_username": parsers.text, "sentinel_password": parsers.text}

OPTIONS: tuple[str, ...] = (*_ANY_OPTIONS, *_TLS_OPTIONS, *_SENTINEL_OPTIONS)
"""Every option; the `ssl_` ones are for TLS, the `sentinel_` ones for Sentinel."""


def redis_url(value: str) -> str:
    """Return the URL if it is one of a Redis that holds any keys; raises ValueError that says what is wrong with it."""
    if read_redis_url(value).shape == "cluster":
        raise ValueError(
            "takes one server or Sentinel, because Celery's queue, the limits and the locks need all their keys in one "
            "place; a cluster can hold the streams (MILLRACE_STREAM_REDIS_URLS)"
        )
    return value


def stream_redis_url(value: str) -> str:
    """Return the URL if it is one of a Redis that may hold streams, a cluster included; otherwise as `redis_url`."""
    read_redis_url(value)
    return value


def read_redis_url(url: str) -> RedisAddress:
    """Parse the URL of a Redis; raises ValueError that says what is wrong with it, without its password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.netloc or parts.path):
        raise ValueError(f"takes a URL that begins with {' or '.join(f'{scheme}://' for scheme in SCHEMES)}")
    shape, is_tls = SCHEMES[parts.scheme]
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    given: dict[str, Any] = {"username": unquote(username) or None, "password": unquote(password) or None}
    if shape == "socket":
        given["path"] = unquote(parts.path)
    else:
        given["places"] = tuple(_places(hosts, shape))
        given |= _path_parts(unquote(parts.path), shape)
    tls: dict[str, Any] = {}
    for name, option in _read_options(parts.query, shape, is_tls=is_tls):
        (tls if name in _TLS_OPTIONS else given)[name] = option
    if "ssl_keyfile" in tls and "ssl_certfile" not in tls:
        raise ValueError("ssl_keyfile takes an ssl_certfile beside it")
    return RedisAddress(shape, tls=TlsOptions(**tls) if is_tls else None, **given)


def _places(hosts: str, shape: Shape) -> Iterator[tuple[str, int]]:
    several = shape != "server"
    default = _SENTINEL_PORT if shape == "sentinel" else _DEFAULT_PORT
    for place in hosts.split(",") if several else [hosts]:
        found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\],/ ]*)(?::([0-9]{1,5}))?", place)
        port = int(found[2]) if found and found[2] else default
        if not found or not 1 <= port <= _MAX_PORT or (several and not found[1]):
            form = "HOST:PORT, joined by commas" if several else "HOST:PORT"
            raise ValueError(f"takes {form}, with ports from 1 to {_MAX_PORT}")
        yield unquote(found[1]).strip("[]") or "localhost", port


def _path_parts(path: str, shape: Shape) -> dict[str, Any]:
    if shape == "cluster" and path.strip("/"):
        raise ValueError("takes no database after its hosts: a cluster has only database 0")
    form = r"/([^/]+)(?:/([0-9]{1,6})?)?" if shape == "sentinel" else r"()(?:/([0-9]{1,6})?)?"
    found = re.fullmatch(form, path, re.ASCII)
    if not found:
        wanted = "/SERVICE/DB, the name of the master at its sentinels and" if shape == "sentinel" else "/DB,"
        raise ValueError(f"takes {wanted} the number of a database, after the host")
    return {"service": found[1], "db": int(found[2] or 0)}


def _read_options(query: str, shape: Shape, *, is_tls: bool) -> Iterator[tuple[str, Any]]:
    own = {name: parse for name, parse in _ANY_OPTIONS.items() if shape != "cluster" or name != "db"}
    known = own | (_TLS_OPTIONS if is_tls else {}) | (_SENTINEL_OPTIONS if shape == "sentinel" else {})
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"has an unknown option {name[:50]}; this kind of URL takes {', '.join(known)}")
        try:
            yield name, known[name](value)
        except ValueError as error:
            raise ValueError(f"option {name} {error}") from None
