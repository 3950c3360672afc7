"""Rows 7, 12, 19 and 23 with two providers: throttled, cut in mid-answer, with a dead prober, and without Redis."""

import itertools
import signal
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from redis import Redis

from millrace.worker.contract.keys import breaker_keys
from tests.client import Client, Json, assert_gapless, emulate, outcomes_of, text_of, wait_for
from tests.faults.conftest import words
from tests.faults.rig import Rig

FIRST, SECOND = "openai", "bedrock"
MODEL = "a-model"
PROBE_SECONDS = 2.0
READ_SECONDS = 2.0
SLACK_SECONDS = 10.0
TRIES = 2


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings: dict[str, Any] = {
        "providers": f"{FIRST},{SECOND}",
        "openai_model": MODEL,
        "openai_api_key": "local",
        "start_seconds": 1,
        "tries": TRIES,
        "read_seconds": READ_SECONDS,
        "lease_seconds": 4,
        "breaker_failures": 1,
        "breaker_open_seconds": 0.3,
        "breaker_max_open_seconds": 0.3,
        "breaker_probe_seconds": PROBE_SECONDS,
    }
    with Rig(tmp_path_factory.mktemp("fallback"), workers=2, **settings) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Client:
    """Return a user of a system whose first provider answers."""
    client = rig.client()
    wait_for(lambda: _who_answers(client) == FIRST, 30, "the first provider's answer")
    return client


def _who_answers(client: Client) -> str:
    """Ask a question, and return the provider that answers it."""
    (outcome,) = outcomes_of(client.whole(client.ask(emulate(text="On it goes."))))
    assert outcome["type"] == "complete", outcome
    return str(outcome["provider"])


def _calls(rig: Rig, message: str) -> list[Json]:
    """Return the calls of either wire for a question, oldest first, also those that continue its answer."""
    wires = (message, [{"text": message}])
    return [call for call in rig.emulator.calls() if any(each["content"] in wires for each in call["messages"])]


def test_row_23_a_cut_answer_continues_at_the_next_provider_and_readers_see_its_text_once(
    rig: Rig, client: Client
) -> None:
    text, count = words(0.8, 20)
    message = emulate(text=text, tokens=count, rate=20, fault="disconnect", at=5, times=1)
    generation = client.ask(message, on_midstream_failure="continue")
    first = list(itertools.islice(client.follow(generation), 4))  # this reader drops before the cut
    received = [*first, *client.follow(generation, first[-1].cursor)]
    assert_gapless(received)
    assert [each.event for each in client.whole(generation)] == [each.event for each in received]

    (at,) = (number for number, each in enumerate(received) if each.event["type"] == "snapshot")
    before, snapshot, after = received[:at], received[at].event, received[at + 1 :]
    assert (snapshot["reason"], snapshot["content"]) == ("fallback", text[:25].rstrip())
    assert text_of(before) == text[:25]
    assert snapshot["content"] + text_of(after) == text
    for number, each in enumerate(received[:-1], 1):  # wherever a reader drops
        assert text_of([*received[:number], *client.follow(generation, each.cursor)]) == text, each

    (outcome,) = outcomes_of(received)
    assert (outcome["type"], outcome["provider"]) == ("complete", SECOND)
    paid = [(each["purpose"], each["provider"], each["exact"]) for each in outcome["usage_by"]]
    assert paid == [("answer", FIRST, False), ("answer", SECOND, True)]
    for field in ("input_tokens", "output_tokens"):
        assert all(each[field] > 0 for each in outcome["usage_by"])
        assert outcome["usage_total"][field] == sum(each[field] for each in outcome["usage_by"])
    stored = client.snapshot(generation)
    assert (stored["content"], stored["outcome"]["usage_by"]) == (text, outcome["usage_by"])
    assert [(call["operation"], call["ended"]) for call in _calls(rig, message)] == [
        ("ChatCompletions", "fault"),
        ("ConverseStream", "finished"),
    ]


def test_row_19_a_throttled_provider_is_called_within_its_tries_and_then_the_next_one_answers(
    rig: Rig, client: Client
) -> None:
    message = emulate(text="Unhurried.", fault="throttle", at=0, times=TRIES)
    received = client.whole(client.ask(message))
    (outcome,) = outcomes_of(received)
    assert (outcome["type"], outcome["provider"], text_of(received)) == ("complete", SECOND, "Unhurried.")
    statuses = [(each.event["status"], each.event.get("provider")) for each in received if "status" in each.event]
    retrying = [("retrying", FIRST)] * (TRIES - 1) + [("retrying", SECOND)]
    assert statuses[1:-1] == [("running", FIRST), *retrying, ("running", SECOND)]
    assert [call["operation"] for call in _calls(rig, message)] == ["ChatCompletions"] * TRIES + ["ConverseStream"]
    assert _who_answers(client) == FIRST  # no failure of the provider: its breaker is closed


def test_row_12_a_probe_that_dies_with_its_worker_gives_way_to_another_within_its_lease(
    rig: Rig, client: Client
) -> None:
    opening = client.ask(emulate(text="Opened.", fault="unavailable", at=0, times=1))
    assert outcomes_of(client.whole(opening))[0]["provider"] == SECOND
    with Redis.from_url(f"redis://127.0.0.1:{rig.valkey.port}/0") as redis:
        wait_for(lambda: _may_probe(redis), 30, "the end of the open time")

    message = emulate(text="Probed.", fault="stall", at=0, times=1)
    generation = client.ask(message)
    (probe,) = wait_for(lambda: _calls(rig, message), 30, "the probe")
    assert probe["operation"] == "ChatCompletions"
    (prober,) = (worker for worker in rig.workers if worker.logged("claimed", generation=generation))
    prober.signal(signal.SIGKILL)
    answered = [_who_answers(client)]
    while answered[-1] != FIRST:
        assert time.time() - probe["started"] < PROBE_SECONDS + SLACK_SECONDS, answered
        answered.append(_who_answers(client))
    assert answered[0] == SECOND  # answers go on during the dead probe's lease
    received = client.whole(generation)
    assert (outcomes_of(received)[0]["type"], text_of(received)) == ("complete", "Probed.")


def test_row_07_an_answer_goes_on_at_the_next_provider_while_redis_does_not_reply_to_the_breaker(
    rig: Rig, client: Client
) -> None:
    """The last test of this system: for a second after it the workers do not ask Redis about breakers."""
    message = emulate(text="Without Redis.", fault="stall", at=0, times=1)
    generation = client.ask(message)
    wait_for(lambda: _calls(rig, message), 30, "the first call")
    rig.valkey.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: _calls(rig, message)[-1]["ended"] == "finished", READ_SECONDS + 20, "the second call's end")
    finally:
        rig.valkey.signal(signal.SIGCONT)
    received = client.whole(generation)
    (outcome,) = outcomes_of(received)
    assert (outcome["type"], outcome["provider"], text_of(received)) == ("complete", SECOND, "Without Redis.")
    assert [call["operation"] for call in _calls(rig, message)] == ["ChatCompletions", "ConverseStream"]
    assert any(worker.logged("breaker_without_redis") for worker in rig.workers)


def _may_probe(redis: Redis) -> bool:
    """Return whether the first provider's breaker is open and its open time is over."""
    state = cast("dict[bytes, bytes]", redis.hgetall(breaker_keys(f"{FIRST}:{MODEL}")[0]))
    seconds, micros = redis.time()
    return state[b"openings"] != b"0" and seconds * 1000 + micros // 1000 > float(state[b"due"])
