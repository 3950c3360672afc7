"""A client of the web tier at its public address: it keeps cookies, as a browser does, and notes when events arrive."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import certifi
import httpx

from millrace.worker.settings.parsers import is_direct

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 20.0


@dataclass(frozen=True)
class Arrival:
    """One frame of an event stream: its id, its event (None for a heartbeat), and its time in monotonic seconds."""

    cursor: str
    event: dict[str, Any] | None
    at: float


class Visitor:
    """One user at an address; `headers` go with every request, such as the operator's own authorization."""

    def __init__(self, url: str, headers: Mapping[str, str], cookies: httpx.Cookies | None = None) -> None:
        parts = urlsplit(url)
        self.base = url.rstrip("/")
        self.prefix = parts.path.rstrip("/")
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.is_https = parts.scheme == "https"
        self._headers = headers
        direct = is_direct(url)
        self.http = httpx.Client(
            headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "millrace-doctor", **headers},
            cookies=cookies,
            timeout=httpx.Timeout(REPLY_SECONDS, connect=CONNECT_SECONDS),
            verify=_certificates() if self.is_https else False,
            trust_env=not direct,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def again(self) -> "Visitor":
        """Return the same user with a connection of its own."""
        return Visitor(self.base, self._headers, self.http.cookies)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request and return its whole response; raises httpx.HTTPError."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, f"{self.base}{path}", json=body, headers=named)

    def open_stream(self, path: str, silence_seconds: float, **headers: str) -> "Stream":
        """Return the response to a request for an event stream; raises httpx.HTTPError."""
        named = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
        timeout = httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS)
        request = self.http.build_request("GET", f"{self.base}{path}", headers=named, timeout=timeout)
        return Stream(self.http.send(request, stream=True))


def _certificates() -> ssl.SSLContext:
    """Return the certificates that this machine trusts, an operator's own among them, and those that browsers trust."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class Stream:
    """An open event stream, from `with` to its end."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.response.close()

    def arrivals(self) -> Iterator[Arrival]:
        """Yield each event and heartbeat as it arrives; raises httpx.HTTPError where the stream breaks."""
        rest = b""
        for part in self.response.iter_bytes():
            at = time.monotonic()
            *frames, rest = (rest + part).split(b"\n\n")
            for frame in frames:
                fields: dict[str, str] = {}
                for line in frame.decode("utf-8", "replace").split("\n"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                if "data" in fields:
                    yield Arrival(fields.get("id", ""), None if "event" in fields else json.loads(fields["data"]), at)


def problem_of(response: httpx.Response) -> str:
    """Return the status of a response and its problem's code and detail, or the beginning of its text."""
    try:
        problem: dict[str, Any] = response.json()
        return f"{response.status_code} {problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text[:100]!r}"


def code_of(response: httpx.Response) -> str:
    """Return the code of a response's problem; empty where it has none."""
    try:
        return str(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return ""
