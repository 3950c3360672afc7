"""Rows 19 to 24: the model's side throttles, fails, falls silent or sends garbage, and is cancelled at any point."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import Client, emulate, outcomes_of, text_of, wait_for
from tests.faults.rig import Rig

TEXT = "0123456789" * 8


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("providers"), read_seconds=8, max_seconds=12) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Client:
    return rig.client()


def test_row_19_throttling_before_the_first_delta_is_retried_with_status_retrying(rig: Rig, client: Client) -> None:
    message = emulate(text=TEXT, fault="throttle", at=0, times=2)
    received = client.whole(client.ask(message))
    assert [each.event["status"] for each in received if each.event["type"] == "status"].count("retrying") == 2
    assert outcomes_of(received)[0]["type"] == "complete"
    assert len(rig.calls(message)) == 3


def test_row_19_endless_throttling_ends_in_an_error_within_bounds(rig: Rig, client: Client) -> None:
    message = emulate(text=TEXT, fault="throttle", at=0)
    (outcome,) = outcomes_of(client.whole(client.ask(message)))
    assert (outcome["code"], outcome["retryable"]) == ("provider_throttled", True)
    assert len(rig.calls(message)) == 4


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "ModelTimeoutException", "in_stream": True},
        {"code": "ModelNotReadyException", "in_stream": True},
        {"code": "FluxCapacitorException", "in_stream": True},
        {"code": "InternalFailure", "in_stream": True, "kind": "error"},
    ],
)
def test_row_20_an_exception_that_the_stream_begins_with_and_botocore_does_not_know_is_retried(
    rig: Rig, client: Client, fault: dict[str, Any]
) -> None:
    message = emulate(text=TEXT, fault=fault, times=1)
    received = client.whole(client.ask(message))
    assert (outcomes_of(received)[0]["type"], text_of(received)) == ("complete", TEXT)
    assert len(rig.calls(message)) == 2


@pytest.mark.parametrize(
    "fault",
    ["input_too_long", "prompt_too_long", "over_context_limit", "too_many_tokens", "too_many_bytes", "too_large"],
)
def test_row_20_a_turn_whose_prompt_is_rejected_as_too_long_is_asked_again_without_the_oldest_turns(
    rig: Rig, client: Client, fault: str
) -> None:
    first = client.post({"message": emulate(text="One. " * 50)}).json()
    client.whole(first["id"])
    message = emulate(text=TEXT, fault=fault, times=1)
    received = client.whole(client.ask(message, conversation_id=first["conversation_id"]))
    assert (outcomes_of(received)[0]["type"], text_of(received)) == ("complete", TEXT)
    sizes = [len(call["messages"]) for call in rig.calls(message)]
    assert sizes[0] > sizes[-1]


def test_row_20_odd_events_lose_no_text_and_never_end_in_an_internal_error(rig: Rig, client: Client) -> None:
    delta = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}}
    ending = {"messageStop": {"stopReason": "end_turn"}}
    tolerated: list[Any] = [
        {"contentBlockStart": {"start": {}}},
        {"contentBlockDelta": {"delta": {}}},
        {"contentBlockDelta": {"delta": {"text": "", "reasoningContent": {"text": ""}}}},
        {"contentBlockDelta": {"delta": {"hologram": {"text": "a"}}}},
        {"messageStop": {}},
        {"somethingNew": []},
    ]
    for odd in tolerated:
        received = client.whole(client.ask(emulate(events=[delta, odd, delta, ending])))
        assert (outcomes_of(received)[0]["type"], text_of(received)) == ("complete", "aa"), odd
    for odd in ({"contentBlockDelta": {"delta": {"text": 5}}}, {"contentBlockDelta": 5}, {"metadata": {"usage": "a"}}):
        received = client.whole(client.ask(emulate(events=[delta, odd, delta, ending])))
        assert (outcomes_of(received)[0]["code"], text_of(received)) == ("provider_rejected", "a"), odd
    (outcome,) = outcomes_of(client.whole(client.ask(emulate(fault={"body": {"message": None}}))))
    assert outcome["code"] == "provider_rejected"


def test_row_20_rejected_credentials_are_an_error_of_their_own_and_are_not_tried_again(
    rig: Rig, client: Client
) -> None:
    message = emulate(fault="expired")
    (outcome,) = outcomes_of(client.whole(client.ask(message)))
    assert (outcome["code"], outcome["retryable"]) == ("provider_authentication", False)
    assert len(rig.calls(message)) == 1


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        ("stream_error", "provider_unavailable", True),  # row 20
        ("throttle", "provider_throttled", True),  # row 20
        ("unavailable", "provider_unavailable", True),  # row 20
        ("validation", "provider_rejected", False),  # row 20
        ("stall", "provider_timeout", True),  # row 21
        ("no_stop", "truncated", True),  # row 22
        ("corrupt", "provider_unavailable", True),  # row 23
        ("disconnect", "provider_unavailable", True),  # row 23
    ],
)
def test_rows_20_to_23_a_failure_mid_answer_keeps_the_text_and_names_the_error(
    rig: Rig, client: Client, fault: str, code: str, retryable: bool
) -> None:
    message = emulate(text=TEXT, tokens=8, rate=50, fault=fault, at=4)
    received = client.whole(client.ask(message))
    (outcome,) = outcomes_of(received)
    assert (outcome["code"], outcome["retryable"]) == (code, retryable)
    assert text_of(received) == TEXT[:40]
    (call,) = wait_for(lambda: [each for each in rig.calls(message) if each["ended"]], 30, "the end of the call")
    assert call["ended"] in ("fault", "closed_by_client")
    assert client.whole(client.ask(emulate(text="Alive.")))


def test_row_21_an_endless_answer_is_cut_at_its_limit_and_its_socket_is_closed(rig: Rig, client: Client) -> None:
    message = emulate(tokens=1000, rate=10)
    received = client.whole(client.ask(message))
    assert outcomes_of(received)[0]["code"] == "limit_exceeded"
    assert text_of(received)
    (call,) = wait_for(lambda: [each for each in rig.calls(message) if each["ended"]], 30, "the end of the call")
    assert call["ended"] == "closed_by_client"


@pytest.mark.parametrize(
    ("when", "script"),
    [
        ("before the first delta", {"tokens": 5, "first_delay": 20}),
        ("in mid-answer", {"tokens": 2000, "rate": 50}),
        ("blocked on a read", {"tokens": 20, "rate": 0, "fault": "stall", "at": 10}),
        ("while it is retried", {"text": "x", "fault": "throttle", "at": 0, "times": 50}),
    ],
)
def test_row_24_cancel_closes_the_model_socket_within_half_a_second(
    rig: Rig, client: Client, when: str, script: dict[str, object]
) -> None:
    message = emulate(**script)
    generation = client.ask(message)
    wait_for(lambda: rig.calls(message), 30, "the call")
    if "first_delay" not in script and "text" not in script:
        wait_for(lambda: client.snapshot(generation)["content"], 30, "some text")
    asked_at = time.time()
    assert client.cancel(generation).status_code == 202
    assert client.cancel(generation).status_code in (200, 202)
    received = client.whole(generation)
    assert outcomes_of(received)[0]["type"] == "cancelled", when
    assert [each.event["type"] for each in received[-2:]] == ["cancelled", "done"]
    calls = wait_for(lambda: all(each["ended"] for each in rig.calls(message)) and rig.calls(message), 30, "the close")
    # Half a second, and what a busy machine adds; the limit of a read would be 8 s.
    assert calls[-1]["ended_at"] - asked_at <= 5
    assert client.cancel(generation).status_code == 200
