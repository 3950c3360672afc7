"""nginx with the blocks of the documentation: only ports, names and paths of files are replaced."""

import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.client import wait_for
from tests.docs.pages import blocks
from tests.valkey import free_port

HOST = "chat.corp"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def block(page: str, number: int = 0) -> str:
    """Return one of a page's nginx blocks."""
    return [each.code for each in blocks("nginx") if each.page.name == page][number]


def put(code: str, old: str, new: str) -> str:
    """Return the code with one place replaced, which must be there once."""
    assert code.count(old) == 1, f"{old!r} is {code.count(old)} times in\n{code}"
    return code.replace(old, new)


def buffering(code: str) -> str:
    """Return the code of a server that passes a stream on only once much of it has come."""
    ignoring = put(code, "proxy_buffering    off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;")
    compressing = "gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any;"
    return put(ignoring, "gzip               off;", compressing)


def program() -> str | None:
    """Return the path of nginx, which Debian keeps out of a user's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """nginx in a process of its own, which serves `code` in front of a web process; from `with` to its end."""

    def __init__(self, directory: Path, code: str, web_port: int) -> None:
        directory.mkdir()
        self.port = free_port()
        listen = re.sub(r"listen (80|443 ssl http2);", rf"listen 127.0.0.1:{self.port} \1;", code)
        listen = listen.replace(f"{self.port} 80;", f"{self.port};").replace(f"{self.port} 443", f"{self.port}")
        served = put(
            put(listen, "127.0.0.1:8000", f"127.0.0.1:{web_port}"),
            "server_name chat.example.com",
            f"server_name {HOST}",
        )
        paths = "\n".join(f"{each}_temp_path {directory}/{each};" for each in _TEMPORARY)
        self._log = directory / "error.log"
        self._configuration = directory / "nginx.conf"
        self._configuration.write_text(
            f"daemon off; master_process off; pid {directory}/pid; error_log {self._log};\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{paths}\n{served}\n}}\n"
        )

    def url(self, host: str = HOST, scheme: str = "http") -> str:
        """The address of the server under a host name."""
        return f"{scheme}://{host}:{self.port}"

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        found = program()
        assert found is not None
        command = [found, "-e", str(self._log), "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(self._answers, 30, "nginx")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            httpx.get(self.url("127.0.0.1"), trust_env=False, timeout=30)
        except httpx.TransportError:
            return False
        return True
