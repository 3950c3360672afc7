"""The gain of streaming for a user: the same answer streamed, and returned as a whole."""

import time
from collections.abc import Iterator

from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.client import Client, emulate, lines_of, parse_frames
from tests.faults.rig import Rig

_STREAMED, _WHOLE = "streamed", "stream: false"
_RATE = 50  # deltas a second


@scenario(
    "whole", "an answer of 125 deltas at 50/s, streamed and in one piece", compared="first text ms", against=_WHOLE
)
def whole(ground: ScenarioContext) -> Iterator[Row]:
    """Ask both ways, one after the other, on a system that has answered before."""
    message = emulate(tokens=25 if ground.is_quick else 125, chars=5, rate=_RATE)
    with Rig(ground.directory) as rig, Client(rig.urls[0]) as client:
        client.post({"message": emulate(text="Warm."), "stream": False})
        yield Row(_WHOLE, _in_one_piece(client, message))
        yield Row(_STREAMED, _streamed(client, message))


def _in_one_piece(client: Client, message: str) -> dict[str, float]:
    begun = time.monotonic()
    answer = client.post({"message": message, "stream": False})
    assert answer.json()["outcome"] == "complete", answer.text
    spent = 1000 * (time.monotonic() - begun)
    return {"first text ms": spent, "end ms": spent}


def _streamed(client: Client, message: str) -> dict[str, float]:
    begun, first = time.monotonic(), 0.0
    with client.http.stream("POST", "/api/generations", json={"message": message, "stream": True}) as response:
        for received in parse_frames(lines_of(response)):
            if received.event["type"] == "chunk" and not first:
                first = received.at
    return {"first text ms": 1000 * (first - begun), "end ms": 1000 * (time.monotonic() - begun)}
