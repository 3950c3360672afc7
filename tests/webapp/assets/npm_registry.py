"""A package registry on the loopback, with packages that a test makes; npm installs from it."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class NpmRegistry:
    """The registry, from `with` to the end of its block; `tarballs` may be changed after a lock file was made."""

    def __init__(self) -> None:
        self.tarballs: dict[str, bytes] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = registry.answer(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Write nothing to the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, str]) -> str:
        """Add version 1.0.0 of a package and return the integrity for its lock file."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path, text in {"package.json": json.dumps({"name": name, "version": "1.0.0"}), **files}.items():
                member = tarfile.TarInfo(f"package/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        self.tarballs[name] = buffer.getvalue()
        return f"sha512-{base64.b64encode(hashlib.sha512(self.tarballs[name]).digest()).decode()}"

    def answer(self, path: str) -> bytes:
        """Return the body for a path, empty for an unknown one."""
        name = path.strip("/").removesuffix(".tgz")
        if name not in self.tarballs:
            return b""
        if path.endswith(".tgz"):
            return self.tarballs[name]
        version = {"name": name, "version": "1.0.0", "dist": {"tarball": f"{self.url}{name}.tgz"}}
        return json.dumps({"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}).encode()
