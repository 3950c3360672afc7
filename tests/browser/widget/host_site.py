"""A site of somebody else's that embeds the widget: pages by path, each with a content security policy."""

import mimetypes
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class HostSite:
    """The pages of the site, which tests set; `url` is its origin."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, tuple[str, str]] = {}  # the policy and the content by path

    def put(self, path: str, content: str, policy: str = "") -> str:
        """Serve a page, or another file of its suffix's type, below a path and return its address."""
        self.files[path] = (policy, content)
        return self.url + path


@contextmanager
def host_site(host: str = "127.0.0.1") -> Generator[HostSite]:
    """Serve an empty site on a free port of a loopback host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            policy, content = site.files.get(self.path, ("", ""))
            body = content.encode()
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(self.path)[0] or "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if policy:
                self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = HostSite(f"http://{host}:{server.server_port}")
        Thread(target=server.serve_forever, daemon=True).start()
        yield site
        server.shutdown()
