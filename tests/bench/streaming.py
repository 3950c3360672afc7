"""One contestant under one load: readers connect, events are published at an even pace, and all is counted."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.processes import Cost, cost, pin
from tests.bench.systems import ROOT, MeasuredSystem, RunningSystem

_WARM_SECONDS = 1.0
_PRIMES = 20


@dataclass(frozen=True)
class Load:
    """So many streams with so many readers in all, and so many events a second on each stream, for some seconds."""

    streams: int
    readers: int
    rate: float
    seconds: float
    slow: int = 0

    @property
    def events(self) -> int:
        """How many events are published."""
        return round(self.streams * self.rate * self.seconds)

    @property
    def deliveries(self) -> int:
        """How many the readers that are not slow must get; the streams have as many readers each."""
        return self.events * (self.readers - self.slow) // self.streams


class ControlledProcess:
    """A process of ours that takes a line of JSON and answers with one."""

    def __init__(self, module: str, plan: dict[str, Any], directory: Path) -> None:
        path = directory / f"{module}.json"
        path.write_text(json.dumps(plan), "utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pin(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def say(self, **said: Any) -> None:
        """Say something; `hear` brings the answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for an answer."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the load generator has ended; its words are above"
        return json.loads(line)

    def ask(self, **said: Any) -> dict[str, Any]:
        """Say something and wait for the answer."""
        self.say(**said)
        return self.hear()


@dataclass(frozen=True)
class Session:
    """A contestant whose readers are all connected and have each had an event."""

    running: RunningSystem
    readers: ControlledProcess
    publisher: ControlledProcess
    before: Cost  # before the first reader came


@contextmanager
def session(system: MeasuredSystem, load: Load, directory: Path, processes: int = 1) -> Generator[Session]:
    """Start a contestant, connect its readers, and see that every one of them hears."""
    place = directory / system.name.replace(" ", "")
    place.mkdir()
    with system.start(place, load.streams, processes) as running:
        before = cost(running.pid)
        plan = {"port": running.port, "requests": running.requests, "is_mute": running.is_mute}
        plan |= {"is_compressed": running.is_compressed}
        plan |= {"count": load.readers, "slow": load.slow, "messages": running.messages}
        with (
            ControlledProcess("readers", plan, place) as readers,
            ControlledProcess("publisher", running.publisher, place) as publisher,
        ):
            readers.ask(do="open")
            prime(readers, publisher, load.streams)
            yield Session(running, readers, publisher, before)


def stream(system: MeasuredSystem, load: Load, directory: Path) -> dict[str, float]:
    """Return what a contestant's deliveries cost under the load, after a second of the same load to get warm."""
    with session(system, load, directory) as held:
        warm = Load(load.streams, load.readers, load.rate, _WARM_SECONDS, load.slow)
        publish(held, warm)
        server, redis = cost(held.running.pid), _redis(held.running)
        heard, said = publish(held, load)
        spent = cost(held.running.pid).cpu - server.cpu
        spent_redis = _redis(held.running) - redis
        each = 1e6 / max(heard["events"], 1)
        return {
            "CPU µs/event": spent * each,
            "p50 ms": heard["p50_ms"],
            "p99 ms": heard["p99_ms"],
            "undelivered": load.deliveries - heard["events"],
            "Redis CPU µs/event": spent_redis * each,
            "bytes/event": heard["bytes"] / max(heard["events"], 1),
            "KB/reader": (cost(held.running.pid).resident_kb - held.before.resident_kb) / load.readers,
            "core %": 100 * spent / heard["newest_after"],
            "readers' core %": 100 * heard["cpu_share"],
            "publisher's core %": 100 * said["cpu_share"],
        }


def publish(held: Session, load: Load) -> tuple[dict[str, Any], dict[str, Any]]:
    """Publish the load and wait until it has arrived; returns what the readers and the publisher say."""
    held.readers.ask(do="reset")
    held.readers.say(do="await", events=load.deliveries)
    said = held.publisher.ask(events=load.events, seconds=load.seconds)
    return held.readers.hear(), said


def prime(readers: ControlledProcess, publisher: ControlledProcess, streams: int) -> None:
    """Publish until every reader has had an event: some peers subscribe only after their headers."""
    readers.ask(do="reset")
    for _ in range(_PRIMES):
        publisher.ask(events=streams, seconds=streams / 5000)
        if not readers.ask(do="pass", seconds=0.5)["without"]:
            return
    raise AssertionError("not every reader hears what is published")


def _redis(running: RunningSystem) -> float:
    return cost(running.redis_pid).cpu if running.redis_pid else 0.0
