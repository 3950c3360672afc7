"""Replaces every process of a system, one after the other, while answers stream; and counts what that has cost.

`python -m tests.faults.rolling 1000` does it with a thousand answers and prints the figures; with a further `sentinel`
Redis has a replica, which is promoted.
"""

import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx

from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate
from tests.client import Client, emulate, wait_for
from tests.faults.conftest import StartedGeneration, ask
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.postgres import PostgresProcess, absent
from tests.sentinels import SentinelService
from tests.valkey import ValkeyProcess

CLIENTS = 20
LASTING, LASTING_SECONDS = 5, 250  # further answers, which go on until all is replaced, however slow the machine is
ALIVE_MS = 20_000  # for which the sentinels wait for a master that restarts
PATIENCE_SECONDS = 30.0  # for which a client tries a refused question again
QUESTION_TEXT = "It goes on. "


@dataclass
class Rolled:
    """The figures of a run; seconds of each step, and what readers and askers have noticed."""

    answers: int
    steps: dict[str, float] = field(default_factory=dict[str, float])
    reconnects: int = 0
    snapshots: int = 0
    model_calls: int = 0
    longest_silence: float = 0.0
    questions: int = 0
    retries: int = 0
    slowest_question: float = 0.0


class Asker:
    """A client that asks a short question twice a second, tries again as `client.js` does, and reads each answer."""

    def __init__(self, rig: Rig) -> None:
        self.clients = [rig.client(number) for number in range(len(rig.urls))]
        self.retries = 0
        self.slowest = 0.0
        self.asked: list[str] = []
        self._is_over = threading.Event()
        self._failure: BaseException | None = None
        self.clients[0].begin()
        for each in self.clients[1:]:
            each.http.cookies = self.clients[0].http.cookies
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop asking; raises the error with which a question has failed."""
        self._is_over.set()
        self._thread.join(PATIENCE_SECONDS + 5)
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._is_over.wait(0.5):
                self._ask()
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self._failure = error

    def _ask(self) -> None:
        began, key = time.monotonic(), uuid4().hex
        body = {"message": emulate(text=QUESTION_TEXT, tokens=3, rate=30)}
        while True:
            client = random.choice(self.clients)
            try:
                answer = client.http.post("/api/generations", json=body, headers={"Idempotency-Key": key}, timeout=10)
                if answer.status_code == 202:
                    break
                assert answer.status_code == 503, answer.text
            except httpx.TransportError:
                pass
            assert time.monotonic() < began + PATIENCE_SECONDS, "a question was refused for too long"
            self.retries += 1
            time.sleep(0.25)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.asked.append(answer.json()["id"])


def roll(
    rig: Rig,
    postgres: PostgresProcess | None,
    answers: int,
    *,
    seconds: float,
    rate: int,
    sentinels: SentinelService | None = None,
) -> Rolled:
    """Start the answers, replace everything, and check that no reader has lost a character or seen an error.

    `sentinels` are those that name the rig's Redis: its replica is replaced and promoted.
    """
    rolled = Rolled(answers)
    clients = [rig.client(number % len(rig.urls)) for number in range(CLIENTS)]
    asked = [
        ask(rig, seconds, rate=rate, name=_name(number), client=clients[number % CLIENTS]) for number in range(answers)
    ]
    lasting = [
        ask(rig, LASTING_SECONDS, rate=rate, name=_name(answers + number), client=client)
        for number, client in enumerate(clients[:LASTING])
    ]
    wait_for(lambda: all(each.follower.text for each in (*asked, *lasting)), 120, "every first text")
    asker = Asker(rig)
    for place in range(len(rig.workers)):
        _timed(rolled, f"worker {place + 1}", lambda place=place: _replace_worker(rig, place))
    for place in range(len(rig.webs)):
        _timed(rolled, f"web {place + 1}", lambda place=place: _replace_web(rig, place))
    _timed(rolled, "Redis", lambda: _restart_redis(rig, sentinels.master if sentinels else rig.valkey))
    if sentinels:
        _timed(rolled, "Redis replica", lambda: _replace_replica(sentinels))
        _timed(rolled, "Redis promotion", lambda: _promote(rig, sentinels))
    if postgres:
        _timed(rolled, "PostgreSQL", lambda: _restart_database(rig, postgres))
    asker.end()
    for each in lasting:
        length = len(each.follower.text)
        wait_for(lambda each=each, length=length: len(each.follower.text) > length, 60, "an answer that goes on")
        each.client.cancel(each.generation)
        assert check(each.follower, each.client)["type"] == "cancelled"
    _check(rig, rolled, asked, asker)
    return rolled


def _check(rig: Rig, rolled: Rolled, asked: list[StartedGeneration], asker: Asker) -> None:
    for each in asked:
        assert check(each.follower, each.client, 180)["type"] == "complete"
        assert each.follower.text == each.text
        assert each.follower.refusals == [], each.follower.last_refusal
        rolled.reconnects += each.follower.connections - 1
        rolled.snapshots += len(each.follower.of_type("snapshot"))
        rolled.longest_silence = max(rolled.longest_silence, each.follower.longest_silence)
    for generation in asker.asked:
        snapshot = wait_for(lambda found=generation: _ended(asker.clients[0], found), 30, "the answer's end")
        assert (snapshot["outcome"]["type"], snapshot["content"]) == ("complete", QUESTION_TEXT)
    messages = {each.message for each in asked}
    rolled.model_calls = sum(_message(call) in messages for call in rig.emulator.calls())
    rolled.questions, rolled.retries, rolled.slowest_question = len(asker.asked), asker.retries, asker.slowest


def _message(call: dict[str, object]) -> object:
    messages = call["messages"]
    assert isinstance(messages, list)
    return messages[-1]["content"][-1].get("text")


def _ended(client: Client, generation: str) -> dict[str, dict[str, str]] | None:
    snapshot = client.snapshot(generation)
    return snapshot if snapshot.get("outcome") else None


def _name(number: int) -> str:
    first, rest = divmod(number, 26 * 26)
    return f"{chr(97 + first)}{chr(97 + rest // 26)}{chr(97 + rest % 26)}"


def _timed(rolled: Rolled, name: str, step: Callable[[], None]) -> None:
    began = time.monotonic()
    step()
    rolled.steps[name] = time.monotonic() - began


def _replace_worker(rig: Rig, place: int) -> None:
    """Terminate one worker while the other stays, start it again as soon as it has exited, and wait for both."""
    rig.workers[place].signal(signal.SIGTERM)
    rig.workers[place].wait(30)
    rig.workers[place] = rig.workers[place].again()
    wait_for(lambda: _checks(rig).get("workers") == f"{len(rig.workers)} alive", 30, "the new worker to consume")


def _replace_web(rig: Rig, place: int) -> None:
    """The same with a web, whose address stays."""
    rig.webs[place].signal(signal.SIGTERM)
    rig.webs[place].wait(30)
    rig.webs[place] = rig.webs[place].again()
    rig.await_ready(rig.urls[place])


def _restart_redis(rig: Rig, server: ValkeyProcess) -> None:
    """Stop Redis as a service is stopped, and start it with its append-only file."""
    server.stop(signal.SIGTERM)
    server.start()
    for url in rig.urls:
        rig.await_ready(url)


def _replace_replica(sentinels: SentinelService) -> None:
    """Restart the server that no process uses, and wait until it is in step."""
    replica = sentinels.replica
    replica.stop(signal.SIGTERM)
    replica.start()
    sentinels.await_replica(replica)


def _promote(rig: Rig, sentinels: SentinelService) -> None:
    """Have Sentinel make the replica the master, as before a replacement of the server that is it now."""
    sentinels.promote()
    for url in rig.urls:
        rig.await_ready(url)


def _restart_database(rig: Rig, postgres: PostgresProcess) -> None:
    """Restart PostgreSQL as `pg_ctl restart` does: its connections are ended, its transactions rolled back."""
    postgres.stop(signal.SIGINT)
    postgres.start()
    for url in rig.urls:
        rig.await_ready(url)


def _checks(rig: Rig) -> dict[str, str]:
    checks: dict[str, str] = httpx.get(f"{rig.urls[0]}/readyz", timeout=5, trust_env=False).json().get("checks", {})
    return checks


def main(answers: int, *, has_replica: bool) -> None:
    """Print the figures of a run with so many answers."""
    Rig.is_forked = False
    with TemporaryDirectory() as name, PostgresProcess() as postgres, ExitStack() as stack:
        migrate(load({"MILLRACE_DATABASE_URL": postgres.url()}))
        sentinels = None
        rig = Rig(Path(name), workers=2, webs=2, max_attempts=5, database_url=postgres.url())
        if has_replica:
            sentinels = stack.enter_context(SentinelService(Path(name), down_after_ms=ALIVE_MS))
            rig.add_settings(redis_url=sentinels.url)
        with rig:
            print(roll(rig, postgres, answers, seconds=120, rate=2, sentinels=sentinels))


if __name__ == "__main__":
    assert not absent(), absent()
    main(int(sys.argv[1]), has_replica="sentinel" in sys.argv)
