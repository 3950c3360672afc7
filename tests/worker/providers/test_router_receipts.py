"""The router passes on what each call has used, also that of a call that failed or gave an empty answer."""

import pytest

from millrace.worker.contract.events import Chunk, PaidCall, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.protocol import Details, Prompt, Stopped, Tool
from millrace.worker.providers.question import Answering, Paid, Retrying
from millrace.worker.providers.stop_reason import StopReason
from tests.worker.providers.test_router import AWAY, WHOLE, RouterHarness

PROMPT = Prompt("bedrock-model", (PromptMessage("user", "?"),), 10, tool=Tool("name", "", {"type": "object"}))


def test_usage_that_is_reported_before_a_failure_is_that_of_a_paid_call() -> None:
    """Whether it arrives by itself or with the failure; a failure without it costs nothing that is known."""
    refused = ProviderError("provider_rejected", retryable=False)
    refused.usage = Usage(7, 0, exact=False)
    scripts = {"bedrock": [[Usage(5, 1), AWAY]], "openai": [[refused]], "anthropic": [[AWAY]], "gemini": [WHOLE]}
    harness = RouterHarness(scripts)
    first, second, third, last = harness.candidates
    assert harness.read() == [
        Paid(PaidCall(5, 1, purpose="answer", provider="bedrock", model=first.id)),
        Retrying(second, "provider_unavailable"),
        Paid(PaidCall(7, 0, exact=False, purpose="answer", provider="openai", model=second.id)),
        Retrying(third, "provider_rejected"),
        Retrying(last, "provider_unavailable"),
        Answering(last),
        *WHOLE,
    ]


def test_usage_before_the_content_belongs_to_the_answer() -> None:
    harness = RouterHarness({"bedrock": [[Usage(5, 1), Chunk("Hi"), Stopped("end_turn")]]})
    assert harness.read() == [Answering(harness.candidates[0]), Usage(5, 1), Chunk("Hi"), Stopped("end_turn")]


def test_an_answer_without_content_is_announced_once_with_its_usage() -> None:
    script = [Stopped("end_turn"), Stopped("content_filtered"), Usage(5, 1)]
    harness = RouterHarness({"bedrock": [script]})
    assert harness.read() == [Answering(harness.candidates[0]), *script]


def test_an_answer_without_content_goes_on_to_the_next_candidate_and_is_paid_for() -> None:
    ends: dict[StopReason, ErrorCode] = {"end_turn": "empty_answer", "malformed": "provider_rejected"}
    for reason, code in ends.items():
        empty = [Chunk(""), Stopped(reason), Details({"id": "1"}), Usage(3, 1)]
        harness = RouterHarness({"openai": [empty], "bedrock": [WHOLE]})
        _, second = harness.candidates
        paid, *rest = harness.read()
        assert isinstance(paid, Paid)
        assert (paid.call.provider, paid.call.input_tokens) == ("openai", 3)
        assert rest == [Retrying(second, code), Answering(second), *WHOLE]


def test_an_empty_answer_stands_if_it_was_filtered_or_ends_a_given_text_or_is_the_last_candidates() -> None:
    cases: tuple[tuple[StopReason, str, tuple[str, ...]], ...] = (
        ("content_filtered", "", ("openai", "bedrock")),
        ("end_turn", "So far", ("openai", "bedrock")),
        ("end_turn", "", ("openai",)),
    )
    for reason, prefill, names in cases:
        empty = [Stopped(reason), Usage(3, 0)]
        harness = RouterHarness({name: [empty] for name in names})
        assert harness.read(prefill) == [Answering(harness.candidates[0]), *empty], reason


def test_a_short_answer_of_no_use_is_a_paid_call_if_its_usage_is_reported() -> None:
    truncated = ProviderError("truncated", retryable=True)
    truncated.usage = Usage(9, 4)
    paid = PaidCall(9, 4, purpose="title", provider="bedrock", model="bedrock-model")
    for failure, expected in ((truncated, [paid]), (AWAY, [])):
        harness = RouterHarness({"bedrock": []}, replies={"name": failure})
        calls: list[PaidCall] = []
        with pytest.raises(ProviderError):
            harness.router.answer(PROMPT, "title", calls.append)
        assert calls == expected
