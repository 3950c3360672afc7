"""The cost of a delta in the worker, beside a plain loop over boto3 and beside botocore's parsing alone.

The figure is the CPU time from the start of the last answer to the end of the last one, divided by the deltas sent in
that time; so start-up does not count, and a contestant that lags gains nothing.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser
from botocore.session import get_session

from deploy.emulator.bedrock.event_stream import encode_event
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import connect
from tests.bench.flush import RATE, answered
from tests.bench.processes import cost, pin, tree
from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.systems import PEERS
from tests.client import emulate, wait_for
from tests.faults.rig import Rig
from tests.worker.migrated_database import new_database

_PLAIN, _PARSING = "plain loop", "botocore's parsing"
_CHARS = 5
_PARSED = 20_000


@dataclass(frozen=True)
class Load:
    """So many answers at once, each of so many deltas a second, for some seconds after all have begun."""

    answers: int
    rate: int
    seconds: float

    @property
    def message(self) -> str:
        """The question; every answer is the same."""
        return emulate(tokens=round(self.rate * (self.seconds + 2)), chars=_CHARS, rate=self.rate)


@scenario("worker", "100 answers at once: the worker, a plain loop, parsing alone", compared="CPU µs/delta")
def worker(ground: ScenarioContext) -> Iterator[Row]:
    """Run both at a pace at which hardly any two deltas share an event, and at one at which some do."""
    answers, seconds = (3, 0.5) if ground.is_quick else (100, 8)
    for rate in (20, 50):
        load, case = Load(answers, rate, seconds), f"{rate} deltas/s each"
        for name, run in ((OURS, _ours), (_PLAIN, _plain_loop)):
            if ground.wants(name):
                place = ground.directory / f"{name} {rate}"
                place.mkdir()
                yield Row(name, _measure(run, load, place), case)
        if ground.wants(_PARSING):
            yield Row(_PARSING, {"CPU µs/delta": _parsing()}, case)


@scenario("pace", "100 answers × 50 deltas/s, the worker on one core: model to reader", compared="delay p99 ms")
def pace(ground: ScenarioContext) -> Iterator[Row]:
    """Have every answer read; the worker has a core for itself, where there are two."""
    answers, deltas = (3, 25) if ground.is_quick else (100, 500)
    with Rig(ground.directory, database_url=new_database()) as rig:
        pin(rig.workers[0].process.pid, is_server=True)
        for pid in (*tree(rig.webs[0].process.pid), rig.valkey.pid, rig.emulator.process.pid):
            pin(pid)
        figures = answered(rig, answers, deltas, ground.directory)
    yield Row(OURS, figures | {"worker's core %": figures["worker µs/delta"] * answers * RATE / 10_000})


@dataclass(frozen=True)
class Work:
    """A process that answers, and how to see that all answers have ended."""

    pid: int
    have_ended: Callable[[], bool]


Start = Callable[[Path, Load], AbstractContextManager[tuple[Rig, Work]]]


@contextmanager
def _ours(place: Path, load: Load) -> Generator[tuple[Rig, Work]]:
    """Run the real worker; the answers are asked for at a real web, and nobody reads them."""
    with Rig(place, database_url=new_database()) as rig, connect(rig.valkey.url) as redis:
        states = [keys_of(rig.client().ask(load.message)).state for _ in range(load.answers)]

        def have_ended() -> bool:
            return all(redis.hexists(state, "done") for state in states)

        yield rig, Work(rig.workers[0].process.pid, have_ended)


@contextmanager
def _plain_loop(place: Path, load: Load) -> Generator[tuple[Rig, Work]]:
    with Rig(place, webs=0, workers=0) as rig:
        arguments = [rig.emulator.url, rig.valkey.url, str(load.answers), load.message]
        command = [sys.executable, str(PEERS / "plain_loop.py"), *arguments]
        said = place / "said"
        with said.open("wb") as sink:
            process = subprocess.Popen(command, env=rig.environment("worker"), stdin=subprocess.PIPE, stdout=sink)

        def have_ended() -> bool:
            assert process.poll() is None, "the plain loop has ended too early; its words are above"
            return said.read_bytes() != b""

        try:
            yield rig, Work(process.pid, have_ended)
        finally:
            process.kill()
            process.communicate()


def _measure(start: Start, load: Load, place: Path) -> dict[str, float]:
    with start(place, load) as (rig, work), connect(rig.valkey.url) as redis:
        for pid in (rig.valkey.pid, rig.emulator.process.pid):
            pin(pid)
        pin(work.pid, is_server=True)

        def counts() -> tuple[float, float, int, int]:
            stats: Any = redis.info("commandstats")
            sent = sum(call["deltas_sent"] for call in rig.emulator.calls())
            return cost(work.pid).cpu, cost(rig.valkey.pid).cpu, stats.get("cmdstat_xadd", {"calls": 0})["calls"], sent

        rig.emulator.wait_for(lambda calls: sum(call["deltas_sent"] > 0 for call in calls) == load.answers, 60)
        begun, before = time.monotonic(), counts()
        wait_for(work.have_ended, load.seconds + 60, "the end of all answers")
        seconds = time.monotonic() - begun
        cpu, redis_cpu, events, deltas = (now - then for now, then in zip(counts(), before, strict=True))
    return {
        "CPU µs/delta": 1e6 * cpu / deltas,
        "core %": 100 * cpu / seconds,
        "events/delta": events / deltas,
        "Redis CPU µs/delta": 1e6 * redis_cpu / deltas,
    }


class _Held:
    """A stream that has come already."""

    def __init__(self, piece: bytes) -> None:
        self._piece = piece

    def stream(self) -> Iterator[bytes]:
        """Yield one message after the other, as chunks bring them."""
        for _ in range(_PARSED):
            yield self._piece


def _parsing() -> float:
    """Return what botocore takes to make an event of a message, without any socket; in µs."""
    shape: Any = get_session().get_service_model("bedrock-runtime").shape_for("ConverseStreamOutput")
    held: Any = _Held(encode_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x" * _CHARS}}))
    begun = time.process_time()
    for _ in EventStream(held, shape, EventStreamJSONParser(), "ConverseStream"):
        continue
    return 1e6 * (time.process_time() - begun) / _PARSED
