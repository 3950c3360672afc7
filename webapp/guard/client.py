"""The client of a request: its owner, and its address in one form, whichever way it reached the server."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, cast
from wsgiref.types import WSGIEnvironment

from flask import has_request_context, request

CLIENT = "millrace.client"  # key of the request's Client in its WSGI environment
_ADDRESS = "millrace.address"  # key of its canonical address there
_KEPT_VARIABLES = {
    *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"),
    *("REMOTE_ADDR", "wsgi.url_scheme", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess"),
}
_NETWORK_BITS = 64  # one user has all the addresses of such a network
# The last 32 bits are an IPv4 address: https://datatracker.ietf.org/doc/html/rfc6052
_NAT64 = ip_network("64:ff9b::/96")
_UNKNOWN = "none"


class Client(NamedTuple):
    """An owner, and the canonical address from which it asks."""

    owner: str
    address: str


def note_owner(owner: str) -> None:
    """Record the current request's owner, for what is counted per client."""
    request.environ[CLIENT] = Client(owner, client_address())


def current_client() -> Client | None:
    """Return the client of the current request; None before its owner is known, and outside Millrace's own routes."""
    return cast("Client | None", request.environ.get(CLIENT)) if has_request_context() else None


def client_address() -> str:
    """Return the canonical address of the current request's client; "none" outside a request."""
    if not has_request_context():
        return _UNKNOWN
    found = cast("str | None", request.environ.get(_ADDRESS))
    if found is None:
        found = request.environ[_ADDRESS] = canonical_address(request.remote_addr or "")
    return found


def kept_variables(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return the variables that can identify the user, headers and address, without socket, body and server.

    Something that outlives its request, such as a stream, makes a request context of them later.
    """
    return {name: value for name, value in environ.items() if name in _KEPT_VARIABLES or name.startswith("HTTP_")}


def canonical_address(given: str) -> str:
    """Return the one form of a client's address, for counters and log lines; "none" for a Unix socket's path.

    A port is removed, which some proxies put into `X-Forwarded-For`. An IPv4 address that is written as one of IPv6, as
    a server that listens on `[::]` sees it, is returned as IPv4; every other IPv6 address as its /64 network.
    """
    text = given.strip()
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])  # a zone is the name of an interface of this host
    except ValueError:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if embedded is None:
            return str(ip_network((address, _NETWORK_BITS), strict=False))
        address = embedded
    return str(address)
