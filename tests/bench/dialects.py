"""The cost of an event in each protocol beside our own, with 500 readers: each of a chat of its own, or an audience."""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import MeasuredSystem, RunningSystem, millrace

_READERS = 500
_SECONDS = 4.0
_RATE = 20  # events a second on each stream
_OWN_PATH = re.compile(r"/api/generations/(\w+)/events")
_PATHS = {
    OURS: r"\g<0>",
    "AI SDK": r"/api/chat/\1/stream?generation=\1",
    "OpenAI responses": r"/v1/responses/resp_\1?stream=true",
    "OpenAI chat": r"/v1/chat/completions/chatcmpl-\1?stream=true",
}
"""The address at which a reader of each protocol follows a generation."""

_SOCKETS = "WebSocket"
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
_KEY = "bWlsbHJhY2UncyBiZW5jaA=="


def _in_protocol(name: str) -> MeasuredSystem:
    """Return the real web whose readers all speak this protocol."""

    @contextmanager
    def start(directory: Path, streams: int, processes: int) -> Generator[RunningSystem]:
        with millrace(directory, streams, processes) as running:
            if name == _SOCKETS:
                yield _on_sockets(running)
                return
            yield replace(running, requests=[_OWN_PATH.sub(_PATHS[name], each, count=1) for each in running.requests])

    return MeasuredSystem(name, start)


def _on_sockets(running: RunningSystem) -> RunningSystem:
    """Return the system with readers that open a WebSocket, on which each follows its generation."""
    followed = [found[1] for each in running.requests if (found := _OWN_PATH.search(each))]
    opened = [_OWN_PATH.sub("/api/ws", each).removesuffix("\r\n") + _UPGRADE.format(_KEY) for each in running.requests]
    return replace(running, requests=opened, messages=tuple(map(_follow_frame, followed)))


def _follow_frame(generation: str) -> str:
    """Return the message of a client that follows, as a frame that is masked with zeros, which change nothing."""
    message = json.dumps({"type": "follow", "generation": generation})
    assert len(message) < 126, "a longer one has another head"
    return f"\x81{chr(0x80 | len(message))}\0\0\0\0{message}"


@scenario("dialects", "500 readers of each protocol, 20 events/s on each stream", compared="CPU µs/event")
def dialects(ground: ScenarioContext) -> Iterator[Row]:
    """Run the same load in each protocol, one after the other."""
    for streams in (_READERS, _READERS // 50):
        load = Load(streams, _READERS, _RATE, _SECONDS)
        if ground.is_quick:
            load = Load(streams // 10, _READERS // 10, _RATE, 0.5)
        place = ground.directory / str(streams)
        place.mkdir()
        for system in map(_in_protocol, (*_PATHS, _SOCKETS)):
            if ground.wants(system.name):
                yield Row(system.name, stream(system, load, place), f"{streams} streams")
