"""Every failure of the model's side ends in one outcome that names it."""

import pytest

from tests.client import Client, emulate, outcomes_of, text_of

ENDS = {
    "stream_error": "provider_unavailable",
    "disconnect": "provider_unavailable",
    "corrupt": "provider_unavailable",
    "no_stop": "truncated",
}


@pytest.mark.parametrize("fault", ENDS)
def test_a_fault_mid_answer_keeps_the_text_and_ends_in_an_error(client: Client, fault: str) -> None:
    received = client.whole(client.ask(emulate(text="0123456789" * 4, tokens=10, rate=100, fault=fault, at=5)))
    (outcome,) = outcomes_of(received)
    assert outcome["type"] == "error"
    assert outcome["code"] == ENDS[fault]
    assert text_of(received) == "0123456789" * 2


def test_throttling_before_the_first_delta_is_retried(client: Client) -> None:
    received = client.whole(client.ask(emulate(text="At last.", fault="throttle", at=0, times=2)))
    assert [each.event["status"] for each in received if each.event["type"] == "status"].count("retrying") == 2
    assert outcomes_of(received)[0]["type"] == "complete"
    assert text_of(received) == "At last."


def test_an_empty_answer_never_completes(client: Client) -> None:
    assert outcomes_of(client.whole(client.ask(emulate(text=""))))[0]["code"] == "empty_answer"


def test_a_rejected_request_is_not_retried(client: Client) -> None:
    received = client.whole(client.ask(emulate(text="No.", fault="validation", at=0)))
    (outcome,) = outcomes_of(received)
    assert (outcome["code"], outcome["retryable"]) == ("provider_rejected", False)
