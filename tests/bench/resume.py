"""A thousand readers that reconnect at once, in the middle of logs of two thousand events."""

import http.client
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.processes import cost
from tests.bench.publisher import FIRST
from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.bench.systems import MeasuredSystem, RunningSystem, millrace, nchan

_STREAMS = 10
_PACE = 5000  # events a second while the logs are written


@scenario("resume", "1,000 readers resuming at once in the middle of 2,000-event logs", compared="CPU µs/event")
def resume(ground: ScenarioContext) -> Iterator[Row]:
    """Write logs, then let everybody come; only Nchan among the peers keeps what was sent."""
    readers, events = (20, 40) if ground.is_quick else (1000, 2000)
    for system in (MeasuredSystem("Millrace", millrace), MeasuredSystem("Nchan", partial(nchan, kept=events))):
        if ground.wants(system.name):
            place = ground.directory / system.name
            place.mkdir()
            with system.start(place, _STREAMS, 1) as running:
                yield Row(system.name, _resumed(running, readers, events, place))


def _resumed(running: RunningSystem, readers: int, events: int, place: Path) -> dict[str, float]:
    with ControlledProcess("publisher", running.publisher, place) as publisher:
        publisher.ask(events=_STREAMS * events, seconds=_STREAMS * events / _PACE)
    half = events // 2
    cursors = [_cursor(running, number, half) for number in range(_STREAMS)]
    requests = [
        request.replace("\r\n\r\n", f"\r\nLast-Event-ID: {cursor}\r\n\r\n")
        for request, cursor in zip(running.requests, cursors, strict=True)
    ]
    plan = {"port": running.port, "requests": requests, "is_mute": False, "count": readers, "in_flight": readers}
    due = readers * (events - half)
    with ControlledProcess("readers", plan | {"is_stamped": False}, place) as driven:
        before, begun = cost(running.pid).cpu, time.monotonic()
        opened = driven.ask(do="open")
        heard = driven.ask(do="await", events=due)
        spent, seconds = cost(running.pid).cpu - before, time.monotonic() - begun
    return {
        "CPU µs/event": spent * 1e6 / max(heard["events"], 1),
        "first event p50 ms": heard["first_p50_ms"],
        "first event p99 ms": heard["first_p99_ms"],
        "all s": seconds,
        "undelivered": due - heard["events"],
        "refused": opened["refused"],
        "readers' core %": 100 * max(heard["cpu_share"], opened["cpu_share"]),
    }


def _cursor(running: RunningSystem, stream: int, events: int) -> str:
    """Return the id of a stream's event after which there are so many, of twice as many."""
    if running.epochs:
        return f"{running.epochs[stream]}-{FIRST + events - 1}"
    # Nchan makes its own ids: read them from the oldest on.
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request("GET", f"/oldest?id=s{stream}", headers={"Accept": "text/event-stream"})
    answer = connection.getresponse()
    ids: list[str] = []
    while len(ids) < events:
        line = answer.readline().decode()
        assert line, "closed before the middle"
        ids += [line[4:].strip()] if line.startswith("id: ") else []
    connection.close()
    return ids[-1]
