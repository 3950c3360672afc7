"""Checks at the public address: does it lead to Millrace, and does the proxy pass on what the web tier needs."""

import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from deploy.doctor.models import QUESTION, TOKENS
from deploy.doctor.report import Finding, failed, ok, warning
from deploy.doctor.visitor import CONNECT_SECONDS, Visitor, code_of, problem_of
from millrace.worker.contract.keys import address_active_key
from millrace.worker.contract.redis.connection import Redis, connect, translate_redis_errors
from millrace.worker.contract.redis.streams import connect_streams
from millrace.worker.contract.state import read_state
from millrace.worker.errors import DependencyUnavailable
from millrace.worker.observability.shared_metrics import collect
from millrace.worker.settings.schema import Settings

SUBJECT = "url"
MADE_UP_ADDRESS = "192.0.2.77"  # reserved for documentation, so no client has it: RFC 5737
HEADERS_ADVICE = "See deploy/docs/behind-nginx.md for the lines that a proxy needs."


@dataclass(frozen=True)
class Entry:
    """The visitor's generation, and its owner, None where this environment's Redis does not know it."""

    generation: str
    owner: str | None


def check_reachable(visitor: Visitor) -> Iterator[Finding]:
    """Yield whether the address leads to a web process, and what HTTP it speaks; nothing is ok where it does not."""
    try:
        alive, ready = visitor.request("GET", "/healthz"), visitor.request("GET", "/readyz")
    except httpx.HTTPError as error:
        advice = "Check the address, the proxy, its certificate and its upstream."
        yield failed(SUBJECT, f"{visitor.base} can't be reached: {error or type(error).__name__}", advice)
        return
    if alive.status_code != 200 or '"alive"' not in alive.text:
        advice = "Give the address of the page without /healthz, with its path if it has one."
        yield failed(SUBJECT, f"{visitor.base}/healthz is not Millrace's: {problem_of(alive)}", advice)
        return
    shown = f"{visitor.base} leads to Millrace by {alive.http_version}"
    if alive.http_version == "HTTP/1.0":
        yield warning(SUBJECT, shown, "The proxy answers by HTTP/1.0: each stream costs it a connection. Use 1.1 or 2.")
    elif visitor.is_https and not _offers_http2(visitor.base):
        advice = "Over HTTP/1.1 a browser opens six connections per host, so that a seventh tab waits. Enable HTTP/2."
        yield warning(SUBJECT, f"{shown}; HTTP/2 is not offered", advice)
    else:
        yield ok(SUBJECT, shown)
    if ready.status_code != 200:
        yield failed(SUBJECT, f"/readyz: {problem_of(ready)}", "A load balancer takes this process out. See above.")


def _offers_http2(url: str) -> bool:
    """Return whether the server agrees to HTTP/2; httpx itself offers it 1.1 only."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the first request has verified it
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = (parts.hostname or "", parts.port or 443)
    try:
        with (
            socket.create_connection(address, CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"
    except OSError:
        return True  # there is a proxy on the way out as well: unknown, so nothing to warn of


def enter(visitor: Visitor, settings: Settings, found: list[Finding]) -> Entry | None:
    """Create a generation through the proxy and return it; None where it is refused. Adds to `found`."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": TOKENS}
    # Where no proxy is trusted, such a header would only be counted as a fault itself.
    made_up = {"X_Forwarded_For": MADE_UP_ADDRESS} if settings.http.trusted_proxies else {}
    response = visitor.request("POST", "/api/generations", body, **made_up)
    if response.status_code != 202:
        found.append(_refusal(response))
        return None
    created: dict[str, Any] = response.json()
    generation = str(created["id"])
    found.extend(_addresses(visitor, created))
    found.extend(_cookie(visitor, response))
    owner = None
    try:
        with closing(connect_streams(settings, timeout_seconds=2.0, retries=0)) as streams:
            state = read_state(streams, generation)
            owner = state.owner if state else None
            if owner and made_up:
                found.append(_counted_address(streams.control, generation))
    except DependencyUnavailable as error:
        found.append(warning(SUBJECT, f"this environment's Redis is away: {error}", "See the lines about Redis."))
    if owner is None:
        advice = "Run this command with the environment of the web processes; until then less can be measured."
        found.append(warning(SUBJECT, "the processes behind it use another Redis than this environment's", advice))
    return Entry(generation, owner)


def _refusal(response: httpx.Response) -> Finding:
    """Return the finding that no question can be asked there."""
    advice = {
        "unauthorized": "Give the doctor a user's credentials: --header 'Authorization: Bearer …' (or its Cookie).",
        "unknown_host": "Add the host to MILLRACE_ALLOWED_HOSTS, or have the proxy pass on its Host.",
        "cross_site": f"The proxy changes Host or scheme. {HEADERS_ADVICE}",
    }.get(code_of(response), "Ask the same on the page; the detail says what is refused.")
    return failed(SUBJECT, f"a question is refused with {problem_of(response)}", advice)


def _addresses(visitor: Visitor, created: dict[str, Any]) -> Iterator[Finding]:
    """Yield whether the addresses in responses have the path below which the proxy serves."""
    events_url = str(created["events_url"])
    if events_url == f"{visitor.prefix}/api/generations/{created['id']}/events":
        if visitor.prefix:
            yield ok(SUBJECT, f"addresses in responses begin with {visitor.prefix}")
        return
    advice = (
        f"Have the proxy send `X-Forwarded-Prefix: {visitor.prefix or '/'}`, and set MILLRACE_TRUSTED_PROXIES to the "
        "number of proxies."
    )
    yield failed(SUBJECT, f"responses name {events_url}, which is not below {visitor.prefix or '/'}", advice)


def _cookie(visitor: Visitor, response: httpx.Response) -> Iterator[Finding]:
    """Yield whether the session cookie is marked as one of HTTPS."""
    cookie = response.headers.get("Set-Cookie", "")
    if visitor.is_https and "millrace_" in cookie and "; secure" not in cookie.lower():
        advice = (
            "Have the proxy send `X-Forwarded-Proto: https` and set MILLRACE_TRUSTED_PROXIES to the number of proxies; "
            "otherwise the cookie also travels without TLS."
        )
        yield failed(SUBJECT, "the session cookie is not Secure, although this is HTTPS", advice)


def _counted_address(redis: Redis, generation: str) -> Finding:
    """Return whether the limits count a client under an address that it has made up."""
    with translate_redis_errors():
        is_believed = redis.zscore(address_active_key(MADE_UP_ADDRESS), generation) is not None
    if not is_believed:
        return ok(SUBJECT, "a made-up X-Forwarded-For is not believed")
    advice = (
        "A client that makes up an address per request evades all limits per address. Have the first proxy replace "
        "the header (`proxy_set_header X-Forwarded-For $remote_addr`), or set MILLRACE_TRUSTED_PROXIES to the true "
        "number of proxies: 0 where this address is the web process itself."
    )
    return failed(SUBJECT, f"a made-up X-Forwarded-For ({MADE_UP_ADDRESS}) is believed", advice)


def check_identity(visitor: Visitor, entry: Entry) -> Iterator[Finding]:
    """Yield whether cookies come back, and whether an unsafe request of a page at this address is accepted.

    The generation has ended, so that cancelling it changes nothing.
    """
    mine = visitor.request("GET", f"/api/generations/{entry.generation}")
    if mine.status_code != 200:
        advice = "The proxy drops Cookie or Set-Cookie, changes the cookie's path, or caches responses of others."
        yield failed(SUBJECT, f"the owner's own answer is refused with {problem_of(mine)}", advice)
        return
    unsafe = visitor.request("POST", f"/api/generations/{entry.generation}/cancel", Origin=visitor.origin)
    if unsafe.status_code == 403:
        advice = (
            "Have the proxy send `Host` with its port (`proxy_set_header Host $http_host`) and X-Forwarded-Proto, and "
            "set MILLRACE_TRUSTED_PROXIES. Until then browsers can't ask anything."
        )
        yield failed(SUBJECT, f"a page of this address is refused with {problem_of(unsafe)}", advice)
    elif unsafe.status_code >= 400:
        yield failed(SUBJECT, f"cancelling is refused with {problem_of(unsafe)}", HEADERS_ADVICE)
    else:
        yield ok(SUBJECT, "cookies, Host and Origin arrive as a browser sends them")


def check_forwarding(settings: Settings) -> Iterator[Finding]:
    """Yield the faults of proxies that the web processes have counted in all their requests since their start."""
    try:
        with connect(settings.redis.url, timeout_seconds=2.0, retries=0) as redis:
            webs = [families for name, families in collect(redis).items() if name.startswith("web:")]
    except DependencyUnavailable as error:
        yield warning("proxies", f"not checked: {error}", "See the lines about Redis.")
        return
    samples = [sample for families in webs for family in families for sample in family.samples]
    counted = Counter[str]()
    for sample in samples:
        if sample.name == "millrace_proxy_faults_total":
            counted[sample.labels["kind"]] += int(sample.value)
    for kind, fault in _FAULTS.items():
        if counted[kind]:
            yield warning("proxies", f"{counted[kind]} requests {fault.found}", fault.advice)
    if webs and not counted.total():
        yield ok("proxies", f"{len(webs)} web processes have seen no request that shows a wrongly configured proxy")


class ProxyFault(NamedTuple):
    """One kind of the counted faults: the rest of a sentence about the requests, and what to do."""

    found: str
    advice: str


_FAULTS = {
    "untrusted": ProxyFault(
        "came with X-Forwarded-For, and MILLRACE_TRUSTED_PROXIES is 0",
        "Behind a proxy, all its users count as one client in every limit: set it to the number of proxies in front. "
        "Without a proxy, clients have sent the header themselves, and it had no effect.",
    ),
    "missing": ProxyFault(
        "came through fewer proxies than MILLRACE_TRUSTED_PROXIES says",
        "Such clients can choose the address under which they are counted. Close the way past the proxy, or correct "
        "the number.",
    ),
    "http_1_0": ProxyFault(
        "came by HTTP/1.0",
        "Each stream holds a greenlet and a place then. Have the proxy speak 1.1 (`proxy_http_version 1.1`).",
    ),
}
