"""What gathering deltas costs in delay and saves in work, and what streaming gives over waiting: the whole system."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tests.bench.processes import cost
from tests.bench.scenario import Ground, Row, scenario
from tests.bench.streaming import Driven
from tests.client import Client, emulate, wait_for
from tests.faults.rig import Rig

_INTERVALS_MS = (0, 10, 20, 50, 100)
_RATE = 50  # deltas a second of one answer
_FIRST_DELAY = 2.0  # all readers are there by then


@scenario("flush", "the flush interval: 20 answers at 50 deltas/s", compared="CPU µs/delta", against="20 ms")
def flush(ground: Ground) -> Iterator[Row]:
    """Run the same answers with each interval."""
    answers, deltas = (2, 25) if ground.is_quick else (20, 250)
    for interval in (0, 50) if ground.is_quick else _INTERVALS_MS:
        place = ground.directory / str(interval)
        place.mkdir()
        with Rig(place, flush_ms=interval, max_active_per_user=1000) as rig:
            yield Row(f"{interval} ms", _answered(rig, answers, deltas, place))


def _answered(rig: Rig, answers: int, deltas: int, place: Path) -> dict[str, float]:
    client = rig.client()
    message = emulate(text="~ab " * deltas, chars=4, rate=_RATE, first_delay=_FIRST_DELAY)
    paths = [f"/api/generations/{client.ask(message)}/events" for _ in range(answers)]
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    requests = [f"GET {path} HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\n\r\n" for path in paths]
    plan = {"port": int(rig.urls[0].rpartition(":")[2]), "requests": requests, "is_mute": False, "is_stamped": False}
    children = [rig.webs[0].process.pid, rig.workers[0].process.pid, rig.valkey.pid]
    with Driven("readers", plan | {"count": answers}, place) as readers:
        readers.ask(do="open")
        before = [cost(pid).cpu for pid in children]
        heard = readers.ask(do="await", events=answers * deltas)
        web, worker, redis = (1e6 * (cost(pid).cpu - cpu) for pid, cpu in zip(children, before, strict=True))
        arrivals = readers.ask(do="arrivals")
    calls = [call for call in rig.emulator.calls() if call["deltas_sent"] == deltas]
    delays = sorted(chain.from_iterable(_delays(each, calls, deltas) for each in arrivals))
    total = answers * deltas
    return {
        "CPU µs/delta": (web + worker + redis) / total,
        "worker µs/delta": worker / total,
        "web µs/delta": web / total,
        "Redis µs/delta": redis / total,
        "delay p50 ms": delays[len(delays) // 2],
        "delay p99 ms": delays[int(len(delays) * 0.99)],
        "events/delta": sum(len(each) for each in arrivals) / total,
        "undelivered": total - heard["events"],
    }
