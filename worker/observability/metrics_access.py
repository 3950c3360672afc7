"""The rule by which both tiers decide who may read their metrics."""

import hmac
from collections.abc import Mapping
from typing import Any

from millrace.worker.settings.parsers import host_name, is_loopback

_FORWARDED = ("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_REAL_IP", "FORWARDED", "VIA")


def may_read_metrics(environ: Mapping[str, Any], token: str) -> bool:
    """Return whether the client of a WSGI request may read metrics and the results of checks.

    With a token, a client that sends it as a bearer token. Without one, a client on this machine that connects
    directly, by the name or an address of the loopback: behind a proxy on this machine every client seems to be on it,
    and a browser's page may use a name of its own for this machine
    (https://en.wikipedia.org/wiki/DNS_rebinding).
    """
    if token:
        scheme, _, given = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
    is_forwarded = any(f"HTTP_{name}" in environ for name in _FORWARDED)
    host = host_name(str(environ.get("HTTP_HOST", "")))
    return not is_forwarded and is_loopback(str(environ.get("REMOTE_ADDR", ""))) and is_loopback(host)
