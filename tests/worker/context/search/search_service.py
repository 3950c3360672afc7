"""A search service on a local port that responds in the JSON of SearXNG and of Brave."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


@dataclass
class SearchService:
    """The pages of its responses as (title, url, text), or a status or body of the test's own.

    `requests` holds path, parameters and headers of each request. A response waits for the event `holds`, if it is set.
    """

    pages: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    status: int = 200
    body: bytes | None = None
    holds: Event | None = None
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list[Any])
    url: str = ""

    def respond(self, path: str) -> bytes:
        """Return the body: SearXNG's for `/search`, otherwise Brave's."""
        if self.holds is not None:
            self.holds.wait()
        if self.body is not None:
            return self.body
        render = searxng if path == "/search" else brave
        return json.dumps(render(self.pages)).encode()


def searxng(pages: list[tuple[str, str, str]]) -> Json:
    """Return a response of SearXNG, with the fields of one of its engines."""
    results = [
        {
            "url": url,
            "title": title,
            "content": text,
            "engine": "duckduckgo",
            "engines": ["duckduckgo"],
            "template": "default.html",
            "positions": [1],
            "score": 1.0,
            "category": "general",
            "thumbnail": None,
        }
        for title, url, text in pages
    ]
    empty: Json = {"answers": [], "corrections": [], "infoboxes": [], "suggestions": [], "unresponsive_engines": []}
    return {"query": "?", "number_of_results": 0, "results": results, **empty}


def brave(pages: list[tuple[str, str, str]]) -> Json:
    """Return a response of Brave: a text is split at "|" into the description and the extra snippets."""
    results = [
        {
            "type": "search_result",
            "title": title,
            "url": url,
            "language": "en",
            "family_friendly": True,
            "description": text.partition("|")[0],
            "extra_snippets": text.split("|")[1:],
        }
        for title, url, text in pages
    ]
    query = {"original": "?", "more_results_available": True}
    return {"type": "search", "query": query, **({"web": {"type": "search", "results": results}} if results else {})}


@contextmanager
def run_search_service() -> Generator[SearchService]:
    """Run a service until the end of the block."""
    service = SearchService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
            service.requests.append(
                (parts.path, parameters, {name.lower(): value for name, value in self.headers.items()})
            )
            body = service.respond(parts.path)
            self.send_response(service.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            if service.holds is not None:
                service.holds.set()
            server.shutdown()
            thread.join()
