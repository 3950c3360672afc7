"""The contestants: Millrace's real web, its peers, and the floor. Each is restarted for every measurement."""

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

from deploy.environment import ensure
from deploy.installer import PipInstaller
from deploy.migration import migrate
from millrace.worker.settings.schema import variables
from tests.bare import UNLIMITED
from tests.bench.logs import make_logs
from tests.bench.processes import pin
from tests.client import wait_for
from tests.valkey import ValkeyProcess, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(__file__).parent / "peers"
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# A web process does not start with more readers than file descriptors; no load of the bench comes near either.
MANY = 100_000 if _DESCRIPTORS == resource.RLIM_INFINITY else min(100_000, _DESCRIPTORS - 2000)
BACKLOG = 4096
_GET = "GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n{headers}\r\n"


@dataclass(frozen=True)
class RunningSystem:
    """A running contestant: its first process, the request of each stream's readers, the publisher's plan."""

    pid: int
    port: int
    requests: list[str]
    publisher: dict[str, Any]
    redis_pid: int | None = None
    is_mute: bool = False  # sends nothing before the first event, not even headers
    epochs: tuple[int, ...] = ()  # of the events of each stream, where the contestant can resume from their ids
    redis_port: int = 0
    is_compressed: bool = False
    messages: tuple[str, ...] = ()  # of each stream's readers, sent after the headers of the response


@dataclass(frozen=True)
class MeasuredSystem:
    """A contestant: `start(directory, streams, processes)` runs it for a `with` block."""

    name: str
    start: Callable[[Path, int, int], AbstractContextManager[RunningSystem]]
    is_there: Callable[[], bool] = lambda: True


@contextmanager
def millrace(directory: Path, streams: int, processes: int = 1, **settings: str) -> Generator[RunningSystem]:
    """Run the real web; the logs are made by its API and claimed as a worker claims them."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    with _valkey(directory) as valkey:
        environment = _environment(directory, valkey.url) | settings
        migrate(ROOT, Path(sys.executable), {**_clean(), **environment})
        bind = ("--bind", f"127.0.0.1:{port}", "--backlog", str(BACKLOG), "--workers", str(processes))
        with _process([*command, *bind, "wsgi:application"], environment, directory, port, ROOT) as pid:
            logs = make_logs(port, valkey.url, streams)
            requests = [_get(log.path, f"Cookie: {log.cookie}\r\n") for log in logs]
            plan = {"kind": "logs", "port": valkey.port, "pieces": [log.pieces for log in logs]}
            epochs = tuple(log.epoch for log in logs)
            yield RunningSystem(pid, port, requests, plan, valkey.pid, epochs=epochs, redis_port=valkey.port)


@contextmanager
def recipe(directory: Path, streams: int, processes: int = 1) -> Generator[RunningSystem]:
    """Run Flask + gevent with one redis-py PubSub for each reader."""
    with _on_gunicorn("recipe:app", directory, streams, processes, path="/{}/events", message="1-SEQ JSON") as running:
        yield running


@contextmanager
def flask_sse(directory: Path, streams: int, processes: int = 1) -> Generator[RunningSystem]:
    """Run flask-sse."""
    message = '{"data": JSON, "id": "1-SEQ"}'
    with _on_gunicorn(
        "with_flask_sse:app", directory, streams, processes, path="/events?channel={}", message=message
    ) as running:
        yield replace(running, is_mute=True)


@contextmanager
def starlette(directory: Path, streams: int, processes: int = 1) -> Generator[RunningSystem]:
    """Run sse-starlette with redis.asyncio on uvicorn and uvloop."""
    command = ["-m", "uvicorn", "with_starlette:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    port = free_port()
    arguments = [
        *command,
        "--log-level",
        "warning",
        "--port",
        str(port),
        "--backlog",
        str(BACKLOG),
        "--workers",
        str(processes),
    ]
    with _over_channels(arguments, port, directory, streams, path="/{}/events", message="1-SEQ JSON") as running:
        yield running


@contextmanager
def nchan(directory: Path, streams: int, processes: int = 1, kept: int = 10) -> Generator[RunningSystem]:
    """Run nginx with Nchan, which takes messages by HTTP and keeps so many of a stream itself: ten is its default."""
    port = free_port()
    text = Template((PEERS / "nginx.conf").read_text("utf-8"))
    (directory / "nginx.conf").write_text(text.substitute(module=NCHAN, port=port, processes=processes, kept=kept))
    directory.chmod(0o755)
    with _process(["nginx", "-p", str(directory), "-c", "nginx.conf"], {}, directory, port, directory) as pid:
        requests = [_get(f"/sub?id=s{number}") for number in range(streams)]
        plan = {"kind": "nchan", "port": port, "paths": [f"/pub?id=s{number}" for number in range(streams)]}
        yield RunningSystem(pid, port, requests, plan)


@contextmanager
def floor(directory: Path, streams: int, processes: int = 1) -> Generator[RunningSystem]:
    """Run the bare loop of `send`."""
    port = free_port()
    with _process([sys.executable, str(PEERS / "floor.py"), str(port)], {}, directory, port, ROOT) as pid:
        plan = {"kind": "floor", "port": port, "streams": streams}
        yield RunningSystem(pid, port, [_get(f"/s{number}") for number in range(streams)], plan)


def _environment(directory: Path, redis_url: str) -> dict[str, str]:
    """Return the settings of a web that refuses no load; a limit that there is not (yet) is left out."""
    given = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{directory}/bench.db",
        "SECRET_KEY": "nobody's but the bench's, and long enough",
        "LEASE_SECONDS": "300",
        "MAX_READERS": str(MANY),
        # Requests are counted, as they are by default.
        **{name.upper(): "1000000/minute" if value == "off" else str(value) for name, value in UNLIMITED.items()},
    }
    known = variables()
    return {f"MILLRACE_{name}": value for name, value in given.items() if f"MILLRACE_{name}" in known}


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}


def _has_nchan() -> bool:
    return NCHAN.exists() and shutil.which("nginx") is not None


SYSTEMS = (
    MeasuredSystem("Millrace", millrace),
    MeasuredSystem("Flask + gevent + PubSub", recipe),
    MeasuredSystem("flask-sse", flask_sse),
    MeasuredSystem("sse-starlette", starlette),
    MeasuredSystem("Nchan", nchan, _has_nchan),
    MeasuredSystem("bare send", floor),
)


@contextmanager
def _on_gunicorn(
    app: str, directory: Path, streams: int, processes: int, *, path: str, message: str
) -> Generator[RunningSystem]:
    port = free_port()
    arguments = ["-m", "gunicorn", "-k", "gevent", "--workers", str(processes), "--no-control-socket"]
    arguments += ["--worker-connections", str(MANY)]
    arguments += ["--bind", f"127.0.0.1:{port}", "--backlog", str(BACKLOG), "--timeout", "300", app]
    with _over_channels(arguments, port, directory, streams, path=path, message=message) as running:
        yield running


@contextmanager
def _over_channels(
    arguments: list[str], port: int, directory: Path, streams: int, *, path: str, message: str
) -> Generator[RunningSystem]:
    """Run a peer that listens to a channel of Redis for each stream."""
    python = str(ensure(ROOT, "bench", PipInstaller(print), print))
    channels = [f"s{number}" for number in range(streams)]
    with _valkey(directory) as valkey:
        environment = {"REDIS_URL": valkey.url}
        with _process([python, *arguments], environment, directory, port, PEERS) as pid:
            plan = {"kind": "channels", "port": valkey.port, "channels": channels, "message": message}
            requests = [_get(path.format(channel)) for channel in channels]
            yield RunningSystem(pid, port, requests, plan, valkey.pid, redis_port=valkey.port)


@contextmanager
def _valkey(directory: Path) -> Generator[ValkeyProcess]:
    (directory / "redis").mkdir()
    with ValkeyProcess(directory / "redis", "--maxclients", "60000") as valkey:
        pin(valkey.pid)
        yield valkey


@contextmanager
def _process(command: list[str], added: dict[str, str], directory: Path, port: int, place: Path) -> Generator[int]:
    """Run a program until the block ends; its first process's id, once it listens."""
    log = directory / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=place, env={**_clean(), **added}, stdout=sink, stderr=sink)
        pin(process.pid, is_server=True)

    def listens() -> bool:
        assert process.poll() is None, log.read_text("utf-8", "replace")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, 30, command[0])
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _get(path: str, headers: str = "") -> str:
    return _GET.format(path=path, headers=headers)
