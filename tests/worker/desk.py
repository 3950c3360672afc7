"""What the web does, without the web: makes generations, rings, cancels, reads logs; and real worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, Done, decode
from millrace.worker.contract.ids import START
from millrace.worker.contract.log import read
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.transcript import Transcript, fold
from millrace.worker.settings.schema import Settings, load
from tests.bare import BARE
from tests.worker.kept import new_database

ROOT = Path(__file__).resolve().parents[2]


def emulate(**script: Any) -> str:
    """Return a message that scripts the local Bedrock endpoint's answer."""
    return "/emulate " + json.dumps(script)


T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 10.0) -> T:
    """Return what the condition returns as soon as it is true; raises AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.005)
    return found


class Desk:
    """Asks and reads, on one Redis; settings, `BARE` by default, are given without their prefix, in lower case.

    The fixture `_close_desks` closes all that a test has opened.
    """

    opened: ClassVar[list["Desk"]] = []

    def __init__(self, redis_url: str, **given: object) -> None:
        own = {"MILLRACE_REDIS_URL": redis_url, "MILLRACE_DATABASE_URL": new_database()}
        self.environment = own | {f"MILLRACE_{name.upper()}": str(value) for name, value in (BARE | given).items()}
        self.settings: Settings = load(self.environment)
        self._clients: list[Redis] = []
        self.redis = self.connect()
        Desk.opened.append(self)
        self.task_queue = TaskQueue(self.settings)

    def connect(self, **how: Any) -> Redis:
        """Return one more client of the same Redis, closed with the desk."""
        self._clients.append(connect(self.settings.redis.url, **how))
        return self._clients[-1]

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        self.task_queue.close()

    def make(self, message: str, on_disconnect: str = "continue", *, is_turn: bool = True) -> str:
        """Make a generation and ring for nobody."""
        ids = new_ids(question=None if is_turn else "")
        request = ModelRequest([PromptMessage("user", message)], self.settings.models.model_id, 4096)
        create(self.redis, Draft(ids, "somebody", request, on_disconnect, 1), self.settings)  # pyright: ignore[reportArgumentType]
        return ids.generation

    def ask(self, message: str) -> str:
        """Make a generation and ring."""
        generation = self.make(message)
        self.task_queue.enqueue(generation)
        return generation

    def cancel(self, generation: str) -> None:
        """Ask for its end."""
        cancel(self.redis, generation, "user", self.settings)

    def events(self, generation: str) -> list[AnyEvent]:
        """Return its log so far; asserts that ids go up and sequence numbers by one."""
        entries = read(self.redis, generation, START, 1_000_000).entries
        assert [entry.cursor.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert entries == sorted(entries, key=lambda entry: entry.cursor)
        return [decode(entry.data) for entry in entries]

    def text(self, generation: str) -> str:
        """Return its text so far."""
        return fold(self.events(generation)).content

    def ended(self, generation: str, seconds: float = 20.0) -> list[AnyEvent]:
        """Return its log once it has ended; asserts one outcome, then one `done`, last."""
        wait_until(lambda: isinstance(self.events(generation)[-1], Done), f"the end of {generation}", seconds)
        events = self.events(generation)
        kinds = [type(event).__name__ for event in events]
        assert kinds.count("Done") == 1
        assert sum(kinds.count(kind) for kind in ("Complete", "Cancelled", "Error")) == 1
        assert kinds[-2] in ("Complete", "Cancelled", "Error")
        return events

    def transcript(self, generation: str, seconds: float = 20.0) -> Transcript:
        """Return what a reader has assembled once it has ended."""
        return fold(self.ended(generation, seconds))


class WorkerProcess:
    """A real worker as it is started in production, from `with` to the end of its block."""

    def __init__(self, desk: Desk, directory: Path, name: str, **environment: str) -> None:
        self._name = name
        self._log = directory / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MILLRACE_", "AWS_"))}
        local = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        self._environment = clean | local | desk.environment | environment

    def __enter__(self) -> Self:
        self._sink = self._log.open("wb")
        self.process = subprocess.Popen(
            [
                *(
                    str(Path(sys.executable).parent / "celery"),
                    "-A",
                    "millrace.worker.app",
                    "worker",
                    "--pool",
                    "gevent",
                ),
                *("--concurrency", "500", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
                *("-n", f"{self._name}@%h"),
            ],
            cwd=ROOT,
            env=self._environment,
            stdout=self._sink,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._sink.close()
        if error is not None:
            print(f"--- {self._name}\n{self.log()[-6000:]}")

    def log(self) -> str:
        """Return what it has said."""
        return self._log.read_text("utf-8", "replace")

    def wait_until_ready(self) -> None:
        """Wait until it takes tasks."""
        wait_until(lambda: "ready" in self.log(), f"{self._name} to be ready\n{self.log()}", 30)

    def send(self, which: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(which)
