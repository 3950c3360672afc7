"""The delay that batching deltas costs and the work that it saves, and the gain of streaming over waiting."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.bench.processes import cost
from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.bench.wire import quantile
from tests.client import Client, Json, emulate
from tests.faults.rig import Rig

_INTERVALS_MS = (0, 10, 20, 50, 100)
RATE = 50  # deltas a second of one answer
_FIRST_DELAY = 2.0  # seconds; all readers are there by then,
_ASKING = 0.03  # where asking takes no longer than that for each
_APART = 0.0137


@scenario("flush", "the flush interval: 20 answers at 50 deltas/s", compared="CPU µs/delta", against="20 ms")
def flush(ground: ScenarioContext) -> Iterator[Row]:
    """Run the same answers with each interval."""
    answers, deltas = (2, 25) if ground.is_quick else (20, 250)
    for interval in (0, 50) if ground.is_quick else _INTERVALS_MS:
        place = ground.directory / str(interval)
        place.mkdir()
        with Rig(place, flush_ms=interval) as rig:
            yield Row(f"{interval} ms", answered(rig, answers, deltas, place))


def answered(rig: Rig, answers: int, deltas: int, place: Path) -> dict[str, float]:
    """Return what so many answers of so many deltas cost, and their delay from the endpoint to their readers."""
    # Each begins at another moment, which also makes its message, and so its call, its own.
    delays = [_FIRST_DELAY + answers * _ASKING + number * _APART for number in range(answers)]
    messages = [emulate(text="^ab " * deltas, chars=4, rate=RATE, first_delay=delay) for delay in delays]
    requests = [reader_request(rig.client(), message) for message in messages]
    plan = {"port": int(rig.urls[0].rpartition(":")[2]), "requests": requests, "is_mute": False, "is_stamped": False}
    children = [rig.webs[0].process.pid, rig.workers[0].process.pid, rig.valkey.pid]
    with ControlledProcess("readers", plan | {"count": answers}, place) as readers:
        readers.ask(do="open")
        before = [cost(pid).cpu for pid in children]
        heard = readers.ask(do="await", events=answers * deltas)
        web, worker, redis = (1e6 * (cost(pid).cpu - cpu) for pid, cpu in zip(children, before, strict=True))
        arrivals = readers.ask(do="arrivals")["arrivals"]
    calls = [rig.calls(message)[0] for message in messages]
    waits = sorted(chain.from_iterable(map(delays_of, arrivals, calls)))
    total = answers * deltas
    return {
        "CPU µs/delta": (web + worker + redis) / total,
        "worker µs/delta": worker / total,
        "web µs/delta": web / total,
        "Redis µs/delta": redis / total,
        "delay p50 ms": quantile(waits, 0.5),
        "delay p99 ms": quantile(waits, 0.99),
        "undelivered": total - heard["events"],
    }


def reader_request(client: Client, message: str) -> str:
    """Ask, and return what a reader of the answer sends."""
    path = f"/api/generations/{client.ask(message)}/events"
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\n\r\n"


def delays_of(arrivals: list[tuple[float, int]], call: Json) -> Iterator[float]:
    """Yield each delta's delay in ms: from when the endpoint sent it, evenly paced, to when the reader had it."""
    first, last = call["sent_at"]
    came = [at for at, count in arrivals for _ in range(count)]
    for number, at in enumerate(came):
        yield 1000 * (at - first - (last - first) * number / (call["deltas_sent"] - 1))
