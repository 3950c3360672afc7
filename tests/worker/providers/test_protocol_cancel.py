"""A hundred streams that are cancelled at once close their connections, and the next hundred run, on every wire."""

import gc
import os
import time

import gevent
import pytest

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.protocol import Prompt, Provider
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate, wait_until
from tests.worker.providers.wires import WIRES, make_provider

STREAMS = 100
TEXT = "a mill by the race of a mill by"  # 31 characters


def read(provider: Provider, number: int, received: list[int], rate: int) -> None:
    """Read one answer, and count its characters at its place in `received`."""
    message = emulate(text=f"{TEXT} {number:3}", tokens=35, rate=rate)
    for delta in provider.stream(Prompt("a-model", (PromptMessage("user", message),), 100)):
        if isinstance(delta, Chunk):
            received[number] += len(delta.content)


def count_sockets() -> int:
    """Return how many sockets this process has open."""
    gc.collect()
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.path.lexists(link) and os.readlink(link).startswith("socket:") for link in links)


@pytest.mark.parametrize("wire", WIRES)
def test_a_hundred_cancelled_streams_close_and_the_next_hundred_run(
    wire: str, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    before = count_sockets()
    provider = make_provider(wire, emulator.url, read_seconds=30, concurrency=STREAMS)
    received = [0] * STREAMS
    reading = [gevent.spawn(read, provider, number, received, rate=1) for number in range(STREAMS)]
    wait_until(lambda: min(received), "the first text of each")
    started = time.monotonic()
    gevent.killall(reading)
    wait_until(lambda: {call["ended"] for call in emulator.calls()} == {"closed_by_client"}, "all closed")
    print(f"{wire}: {1000 * (time.monotonic() - started):.0f} ms until the server has seen {STREAMS} closed")
    reading.clear()  # a killed greenlet keeps its frames, and with them the pool
    received = [0] * STREAMS
    gevent.joinall(
        [gevent.spawn(read, provider, number, received, rate=0) for number in range(STREAMS)], raise_error=True
    )
    assert received == [35] * STREAMS
    provider.close()
    assert count_sockets() <= before
