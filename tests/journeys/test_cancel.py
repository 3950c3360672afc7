"""A cancel ends the generation with one outcome and closes the model's connection, at any moment."""

import json

import pytest

from tests.client import Client, Json, assert_complete, emulate, outcomes_of, text_of, wait_for
from tests.journeys.conftest import Calls


def closed(calls: Calls, message: str) -> Json:
    """Wait until the endpoint has seen the client close, and return the one call."""
    ended = wait_for(lambda: [call for call in calls.of(message) if call["ended"]], 30, "the end of the call")
    assert len(calls.of(message)) == 1
    assert ended[0]["ended"] == "closed_by_client"
    return ended[0]


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_cancel_mid_answer_keeps_the_text(client: Client, calls: Calls, how: str) -> None:
    message = emulate(tokens=2000, chars=5, rate=50, first_delay=0.0) + " " * (how == "delete")
    generation = client.ask(message)
    reader = client.follow(generation)
    received = [each for _, each in zip(range(8), reader, strict=False)]
    path = f"/api/generations/{generation}"
    answer = client.http.post(f"{path}/cancel") if how == "cancel" else client.http.delete(path)
    assert answer.status_code == 202
    received += list(reader)
    assert_complete(received)
    assert outcomes_of(received)[0]["by"] == "user"
    assert received[-2].event["type"] == "cancelled"
    assert text_of(received)
    assert text_of(received) == client.snapshot(generation)["content"]
    assert closed(calls, message)["deltas_sent"] < 1000


def test_cancel_before_the_first_delta_ends_the_generation(client: Client, calls: Calls) -> None:
    message = emulate(tokens=3, first_delay=30)
    generation = client.ask(message)
    wait_for(lambda: calls.of(message), 30, "the call")
    assert client.cancel(generation).status_code == 202
    received = client.whole(generation)
    assert outcomes_of(received)[0]["type"] == "cancelled"
    assert closed(calls, message)["deltas_sent"] == 0


def test_cancel_interrupts_a_worker_blocked_on_a_silent_model(client: Client, calls: Calls) -> None:
    message = emulate(tokens=20, rate=0, fault="stall", at=10)
    generation = client.ask(message)
    wait_for(lambda: client.snapshot(generation)["content"], 30, "the text before the stall")
    assert client.cancel(generation).status_code == 202
    assert outcomes_of(client.whole(generation))[0]["type"] == "cancelled"
    closed(calls, message)


def test_cancel_after_the_end_changes_nothing(client: Client) -> None:
    generation = client.ask(emulate(text="Over.", rate=0))
    whole = client.whole(generation)
    answer = client.cancel(generation)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert [each.event for each in client.whole(generation)] == [each.event for each in whole]


def test_cancelling_twice_gives_one_outcome(client: Client, calls: Calls) -> None:
    message = emulate(tokens=1500, rate=50)
    generation = client.ask(message)
    wait_for(lambda: client.snapshot(generation)["content"], 30, "the first text")
    answers = [client.cancel(generation).status_code for _ in range(3)]
    assert answers[0] == 202
    assert set(answers) <= {200, 202}
    assert len(outcomes_of(client.whole(generation))) == 1
    assert client.cancel(generation).status_code == 200
    closed(calls, message)


def test_disconnecting_from_a_streamed_post_cancels_after_the_grace_time(client: Client, calls: Calls) -> None:
    message = emulate(tokens=4000, rate=50)
    with client.http.stream("POST", "/api/generations", json={"message": message, "stream": True}) as response:
        generation = response.headers["Millrace-Generation-Id"]
        next(response.iter_raw())
    ended = wait_for(lambda: client.snapshot(generation)["outcome"], 40, "the end after the grace")
    assert (ended["type"], ended["by"]) == ("cancelled", "abandoned")
    closed(calls, message)


def test_usage_after_a_cancel_is_marked_as_estimated(client: Client) -> None:
    generation = client.ask(emulate(tokens=2000, rate=50))
    wait_for(lambda: client.snapshot(generation)["content"], 30, "the first text")
    client.cancel(generation)
    usage = outcomes_of(client.whole(generation))[0]["usage"]
    assert usage["exact"] is False
    assert usage["output_tokens"] > 0
    assert json.dumps(usage)
