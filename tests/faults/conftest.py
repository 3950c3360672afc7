"""Shared by the fault tests: a deterministic text, and functions that request it and check it."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.client import Client, emulate, wait_for
from tests.faults.follower import Follower, check
from tests.faults.rig import Rig


@dataclass(frozen=True)
class StartedGeneration:
    """A generation that runs: what was asked, what the text must become, who asks, and a reader that never gives up."""

    message: str
    generation: str
    text: str
    client: Client
    follower: Follower


def words(seconds: float, rate: int = 40, width: int = 5, name: str = "w") -> tuple[str, int]:
    """Return a text of so many seconds at so many deltas a second, no two alike, and how many they are."""
    count = int(seconds * rate)
    return "".join(f"{name}{number:0{width - len(name) - 1}d} " for number in range(count)), count


def ask(
    rig: Rig, seconds: float, *, rate: int = 40, name: str = "w", client: Client | None = None, **script: Any
) -> StartedGeneration:
    """Ask for a text that takes so many seconds, and follow it."""
    client = client or rig.client()
    text, count = words(seconds, rate, name=name)
    message = emulate(text=text, tokens=count, rate=rate, **script)
    generation = client.ask(message)
    return StartedGeneration(
        message, generation, text, client, Follower(rig.urls, client.http.cookies, generation, text)
    )


def ask_several(rig: Rig, seconds: float, names: Iterable[str]) -> list[StartedGeneration]:
    """Ask for an answer of each name, by one client, and wait until all have some text."""
    client = rig.client()
    asked = [ask(rig, seconds, name=name, client=client) for name in names]
    wait_for(lambda: all(len(each.follower.text) > 40 for each in asked), 40, "text of all answers")
    return asked


def assert_complete(rig: Rig, asked: Sequence[StartedGeneration]) -> None:
    """Assert that each answer is whole, of one model call, and that every process lives."""
    for each in asked:
        assert check(each.follower, each.client)["type"] == "complete"
        assert each.follower.text == each.text
        assert len(rig.calls(each.message)) == 1
    assert all(child.is_alive for child in (*rig.workers, *rig.webs))


def end_without_workers(rig: Rig) -> tuple[StartedGeneration, StartedGeneration]:
    """Have one answer's only worker die and another wait for none; the web ends both, and they are returned so."""
    running = ask(rig, 30)
    wait_for(lambda: len(running.follower.text) > 20, 30, "some text")
    rig.workers[0].signal(signal.SIGKILL)
    waiting = ask(rig, 30)
    assert check(waiting.follower, waiting.client, 40)["code"] == "queue_timeout"
    assert check(running.follower, running.client, 60)["code"] == "worker_lost"
    return running, waiting
