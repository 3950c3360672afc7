"""The whole system as plain processes, each of which a test may kill, stop or start. Nothing restarts them.

They are forks of a process that has imported both tiers' modules (`tests/forks.py`), unless a rig is given variables of
its own or another copy of the system, or `Rig.is_forked` is off, as for measurements.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

import httpx

from tests.bare import BARE
from tests.client import Client, Json, wait_for
from tests.emulator_process import EmulatorProcess
from tests.forks import fork
from tests.valkey import ValkeyProcess, free_port
from tests.worker.migrated_database import new_database

ROOT = Path(__file__).parent.parent.parent


class Child:
    """One process of the system, in a process group of its own; `arguments` are those of `python -m`.

    It is forked where no `root` is given, and started there otherwise.
    """

    def __init__(
        self, name: str, arguments: list[str], environment: dict[str, str], log: Path, root: Path | None
    ) -> None:
        self.name = name
        self.log = log
        self._given = (name, arguments, environment, log, root)
        if root is None:
            self.process = fork(arguments, environment, log, has_own_session=True)
            return
        command = [sys.executable, "-m", *arguments]
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command, cwd=root, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def again(self) -> "Child":
        """Start the same once more."""
        return Child(*self._given)

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the whole group; SIGKILL is waited for."""
        assert self.is_alive, f"{self.name} is dead already:\n{self.log.read_text()[-2000:]}"
        os.killpg(self.process.pid, which)
        if which == signal.SIGKILL:
            self.process.wait()

    def logged(self, event: str, **fields: object) -> bool:
        """Tell whether it has logged this event, with these fields among others."""
        lines = (line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}"))
        return any({"event": event, **fields}.items() <= json.loads(line).items() for line in lines if event in line)

    def wait(self, seconds: float) -> int:
        """Wait for the end; raises TimeoutExpired."""
        return self.process.wait(seconds)


class Rig:
    """Valkey, the local endpoint, workers and webs.

    Settings, `BARE` by default, are given in lower case, without their prefix.
    """

    is_forked: ClassVar[bool] = True

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        webs: int = 1,
        web_host: str = "127.0.0.1",
        worker_modules: tuple[str, ...] = (),
        web_application: str = "wsgi:application",
        variables: Mapping[str, str] = MappingProxyType({}),
        root: Path = ROOT,
        **settings: object,
    ) -> None:
        self.directory = directory
        self._web_host = web_host
        self._worker_modules = worker_modules
        self._web_application = web_application
        self._variables = variables
        self._root = root
        self._start_in = None if self.is_forked and root == ROOT and not variables else root
        self._counts = (workers, webs)
        (directory / "redis").mkdir()
        self.valkey = ValkeyProcess(directory / "redis")
        self.emulator = EmulatorProcess()
        self.redis_ports: dict[str, int] = {}
        """By tier, `worker` or `web`: another port by which it reaches Redis, such as a proxy's."""
        self.database_url = str(settings.get("database_url") or new_database())
        self._settings = BARE | settings | {"database_url": self.database_url}
        self.workers: list[Child] = []
        self.webs: list[Child] = []
        self.urls: list[str] = []
        self._clients: list[Client] = []

    def __enter__(self) -> Self:
        self.valkey.start()
        self.emulator.__enter__()
        for _ in range(self._counts[0]):
            self.start_worker()
        for _ in range(self._counts[1]):
            self.start_web()
        for url in self.urls:
            self.await_ready(url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.http.close()
        for child in (*self.webs, *self.workers):
            if child.is_alive:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        self.emulator.__exit__(kind, error, trace)
        self.valkey.stop()
        if error is not None:
            print(self.logs())

    def await_ready(self, url: str) -> None:
        """Wait until the web at this address can do its work."""
        wait_for(lambda: _status(url + "/readyz") == 200, 90, f"{url} to be ready\n{self.logs()}")

    def environment(self, tier: str) -> dict[str, str]:
        """Return what every process of a tier is started with."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))}
        return {
            **clean,
            **self._variables,
            "PYTHONPATH": str(self._root / ".package"),  # a mutated copy of the system has its own
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "MILLRACE_SECRET_KEY": "a secret of this test, long enough for a key",
            "MILLRACE_REDIS_URL": f"redis://127.0.0.1:{self.redis_ports.get(tier, self.valkey.port)}/0",
            "MILLRACE_BEDROCK_ENDPOINT_URL": self.emulator.url,
            "MILLRACE_OPENAI_BASE_URL": f"{self.emulator.url}/v1",
            **{f"MILLRACE_{name.upper()}": str(value) for name, value in self._settings.items()},
        }

    def add_settings(self, **settings: object) -> None:
        """Change settings for the processes that are started from now on."""
        self._settings = self._settings | settings

    def change_root(self, root: Path) -> None:
        """Start processes from another copy of the system from now on."""
        self._root = self._start_in = root

    def start_worker(self) -> Child:
        """Start one more worker."""
        name = f"worker{len(self.workers)}"
        command = worker_command(name)
        for module in self._worker_modules:
            command += ["--include", module]
        self.workers.append(
            Child(name, command, self.environment("worker"), self.directory / f"{name}.log", self._start_in)
        )
        return self.workers[-1]

    def start_web(self) -> Child:
        """Start one more web, on a port of its own."""
        name, port = f"web{len(self.webs)}", free_port()
        command = [
            "gunicorn",
            "-c",
            "deploy/gunicorn.conf.py",
            "--no-control-socket",
            "--bind",
            f"{self._web_host}:{port}",
        ]
        command.append(self._web_application)
        child = Child(name, command, self.environment("web"), self.directory / f"{name}.log", self._start_in)
        self.webs.append(child)
        self.urls.append(f"http://{self._web_host}:{port}")
        return child

    def client(self, web: int = 0) -> Client:
        """Return a new user at one of the webs, closed with the rig."""
        self._clients.append(Client(self.urls[web]))
        return self._clients[-1]

    def calls(self, message: str) -> list[Json]:
        """Return the model calls whose last message is this one, oldest first."""
        return [call for call in self.emulator.calls() if call["messages"][-1]["content"][-1].get("text") == message]

    def logs(self) -> str:
        """Return the end of each process's log."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.directory.glob("*.log")))


def worker_command(name: str) -> list[str]:
    """Return the arguments of `python -m` that start a worker of this name."""
    command = ["celery", "-A", "millrace.worker.app", "worker", "--pool", "gevent", "--concurrency", "500"]
    return [*command, "--loglevel", "INFO", "--without-gossip", "--without-mingle", "-n", f"{name}@%h"]


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=3, trust_env=False, verify=False).status_code
    except httpx.HTTPError:
        return 0
