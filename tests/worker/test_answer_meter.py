"""The answer meter counts an attempt's deltas, holds it to its limits and judges its end; all of it without I/O."""

import time
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import UNSET

from millrace.worker import answer_meter
from millrace.worker.answer_meter import ENDING_EVENTS, AnswerMeter, Measured
from millrace.worker.contract.events import (
    Chunk,
    Citation,
    Complete,
    Image,
    ImageReference,
    PaidCall,
    Reasoning,
    Snapshot,
    ToolUse,
    Usage,
    encode,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.log import Claim
from millrace.worker.contract.request import ModelRequest, PromptMessage, ReasoningState
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Details, Prompt, ReasoningBlock, Stopped
from millrace.worker.providers.question import Answering
from millrace.worker.settings.catalog import UNKNOWN_MODEL, Candidate, Price
from millrace.worker.settings.schema import load

SETTINGS = load({"MILLRACE_MAX_OUTPUT_BYTES": "1024", "MILLRACE_MAX_EVENTS": "20"})
REQUEST = ModelRequest([PromptMessage("user", "Why?")], "a-model", 10)
CLAIMED = ClaimedGeneration(
    Claim("0" * 32, "token", 7), Cursor(0, 1), 1, "owner", "conversation", "message", "question", REQUEST, fields=()
)


@pytest.fixture
def meter() -> AnswerMeter:
    return make_meter()


def make_meter(price: Price | None = None) -> AnswerMeter:
    """Return a meter of an answer that a candidate is giving."""
    meter = AnswerMeter(CLAIMED, time.monotonic(), SETTINGS)
    meter.start_call(Answering(Candidate("openai", "gpt-5", UNKNOWN_MODEL, price)))
    return meter


def failure_of(meter: AnswerMeter) -> str:
    with pytest.raises(GenerationFailed) as raised:
        meter.complete()
    return raised.value.code


def test_content_is_returned_for_the_log_and_usage_and_stop_reason_are_not(meter: AnswerMeter) -> None:
    for content in (Chunk("a"), Reasoning("b"), Citation("c"), ToolUse("1", "look", {})):
        assert meter.accept(content, 1) is content
    assert meter.accept(Usage(1, 2), 1) is None
    assert meter.accept(Stopped("end_turn"), 1) is None
    assert (meter.chars, meter.chunks) == (2, 2)


def test_an_image_is_content_of_which_the_bytes_are_counted_and_one_left_out_is_a_detail(meter: AnswerMeter) -> None:
    image = Image("i", "png", 9)
    assert meter.accept(image, 1) is image
    assert meter.accept(meter.leave_image_out(), 1) is None
    meter.accept(meter.leave_image_out(), 1)
    meter.accept(Stopped("end_turn"), 1)
    assert meter.complete().provider_details == {"images_left_out": 2}
    assert meter.image_bytes == 9
    meter.start_from(Snapshot("a", "", [], [], "fallback", [ImageReference("i", "png", 5)]))
    assert meter.image_bytes == 5
    meter.start_from(Snapshot("", "", [], [], "fallback"))
    assert meter.image_bytes == 0


def test_reasoning_is_kept_with_who_gave_it_but_not_that_of_an_abandoned_call(meter: AnswerMeter) -> None:
    assert meter.reasoning_state() is None
    meter.accept(ReasoningBlock({"a": 1}), 1)
    assert meter.accept(ReasoningBlock({"b": 2}, is_requested=True), 1) is None
    assert not meter.has_begun
    assert meter.reasoning_state() == ReasoningState("openai", "gpt-5", [{"a": 1}, {"b": 2}], is_requested=True)
    meter.start_call(Answering(Candidate("gemini", "other", UNKNOWN_MODEL)))
    assert meter.reasoning_state() is None
    meter.accept(ReasoningBlock({"c": 3}), 1)
    assert meter.reasoning_state() == ReasoningState("gemini", "other", [{"c": 3}])


def test_reasoning_is_not_kept_if_its_place_is_not_before_the_whole_text() -> None:
    for delta in (ToolUse("1", "look", {}), ReasoningBlock({"b": "x" * 2000})):
        meter = make_meter()
        meter.accept(ReasoningBlock({"a": 1}), 1)
        meter.accept(delta, 1)
        assert meter.reasoning_state() is None
    continued = make_meter()
    continued.start_from(Snapshot("Be", "", [], [], "takeover"))
    continued.accept(ReasoningBlock({"a": 1}), 1)
    assert continued.reasoning_state() is None
    continued.start_from(Snapshot("", "", [], [], "fallback"))
    assert continued.reasoning_state()


def test_reasoning_of_the_complete_answer_of_an_earlier_attempt_is_adopted(meter: AnswerMeter) -> None:
    state = ReasoningState("openai", "gpt-5", [{"a": 1}])
    meter.adopt(state)
    assert meter.reasoning_state() is state


def test_an_answer_begins_with_its_first_content(meter: AnswerMeter) -> None:
    meter.accept(Usage(1, 0), 1)
    assert not meter.has_begun
    assert meter.latency().first_delta_ms is None
    meter.accept(Chunk("a"), 1)
    assert meter.has_begun
    assert meter.latency().first_delta_ms is not None


def test_latency_has_the_time_of_the_reasoning_in_every_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.monotonic()]
    meter = make_meter()
    monkeypatch.setattr(answer_meter, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def accept_after(seconds: float, *deltas: Measured) -> None:
        clock[0] += seconds
        for delta in deltas:
            meter.accept(delta, 1)

    assert meter.latency().reasoning_ms is UNSET
    accept_after(1.0, Reasoning("Hm"), Reasoning("m."))
    clock[0] += 2.0
    cancelled = meter.cancelled("user")
    assert b'"reasoning_ms":2000' in encode(cancelled)
    accept_after(0.5, Chunk("Because"))
    accept_after(4.0, Reasoning("Again."), Chunk("."), Stopped("end_turn"))
    for outcome in (meter.complete(), meter.failed(GenerationFailed("internal", retryable=True))):
        assert outcome.latency is not None
        assert outcome.latency.reasoning_ms == 2500
        assert outcome.latency.total_ms - (outcome.latency.first_delta_ms or 0) == 6500


def test_a_complete_answer_names_model_provider_message_and_usage(meter: AnswerMeter) -> None:
    for delta in (Chunk("a"), Stopped("end_turn"), Usage(3, 4)):
        meter.accept(delta, 1)
    outcome = meter.complete()
    assert isinstance(outcome, Complete)
    assert (outcome.model, outcome.provider, outcome.requested_model) == ("gpt-5", "openai", "a-model")
    assert outcome.message_id == "message"
    assert (outcome.usage, outcome.stop_reason, outcome.stored) == (Usage(3, 4), "end_turn", False)


def test_a_stream_without_a_stop_reason_is_truncated(meter: AnswerMeter) -> None:
    meter.accept(Chunk("a"), 1)
    assert failure_of(meter) == "truncated"


def test_a_stream_without_content_is_an_empty_answer(meter: AnswerMeter) -> None:
    meter.accept(Chunk(""), 1)
    meter.accept(Stopped("end_turn"), 1)
    assert failure_of(meter) == "empty_answer"


@pytest.mark.parametrize("delta", [Reasoning("I think."), Chunk(" \n"), Chunk("\u200b\ufeff"), Citation("c")])
def test_an_answer_without_a_visible_character_is_empty(meter: AnswerMeter, delta: Measured) -> None:
    meter.accept(delta, 1)
    meter.accept(Stopped("end_turn"), 1)
    assert failure_of(meter) == "empty_answer"


def test_an_answer_that_was_all_thinking_names_the_tokens_as_the_cause(meter: AnswerMeter) -> None:
    meter.accept(Reasoning("I think."), 1)
    meter.accept(Stopped("max_tokens"), 1)
    with pytest.raises(GenerationFailed, match="used up its tokens for thinking") as raised:
        meter.complete()
    assert raised.value.code == "empty_answer"


def test_the_text_that_an_answer_continues_from_is_content_and_counts_towards_the_size(meter: AnswerMeter) -> None:
    meter.start_from(Snapshot("é" * 500, "r", [], [], "takeover"))
    meter.accept(Chunk("a" * 23), 1)
    with pytest.raises(GenerationFailed, match="limit"):
        meter.accept(Chunk("b"), 1)
    meter.start_from(Snapshot("", "", [], [], "takeover"))
    meter.accept(Chunk("b" * 1024), 1)


def test_events_are_reserved_for_the_end(meter: AnswerMeter) -> None:
    meter.accept(Chunk("a"), 20 - ENDING_EVENTS)
    with pytest.raises(GenerationFailed) as raised:
        meter.accept(Chunk("b"), 20 - ENDING_EVENTS + 1)
    assert raised.value.code == "limit_exceeded"


def test_usage_is_estimated_until_the_provider_reports_it(meter: AnswerMeter) -> None:
    meter.record_prompt(
        Prompt(model="a-model", messages=(PromptMessage("user", "12345"),), max_tokens=9, system=("6",))
    )
    meter.accept(Chunk("12345"), 1)
    assert meter.usage() == Usage(2, 2, exact=False)
    meter.accept(Usage(3, 4), 1)
    assert meter.usage() == Usage(3, 4)


def test_the_receipt_lists_all_paid_calls_with_their_sum_and_the_calls_that_were_cut_off() -> None:
    meter = make_meter(Price(1, 10))
    meter.paid_calls.append(PaidCall(3, 4, purpose="intent", provider="openai", model="gpt-5-mini", cost=0.5))
    meter.record_prompt(Prompt("gpt-5", (PromptMessage("user", "12345678"),), 9))
    meter.accept(Chunk("12345678"), 1)
    meter.start_call(Answering(Candidate("bedrock", "nova", UNKNOWN_MODEL, Price(2, 20)), "chunked"))
    for delta in (Chunk("1234"), Usage(10, 20, reasoning_tokens=5, cost=0.25), Stopped("end_turn")):
        meter.accept(delta, 1)
    outcome = meter.complete()
    intent, cut_off, answer = outcome.usage_by
    assert intent.purpose == "intent"
    assert (cut_off.provider, cut_off.input_tokens, cut_off.output_tokens, cut_off.exact) == ("openai", 2, 2, False)
    assert cut_off.cost == pytest.approx((2 * 1 + 2 * 10) / 1e6)
    assert (answer.provider, answer.model, answer.output_tokens, answer.exact) == ("bedrock", "nova", 20, True)
    assert outcome.usage_total is not None
    assert (outcome.usage_total.input_tokens, outcome.usage_total.reasoning_tokens) == (15, 5)
    assert outcome.usage_total.cost == pytest.approx(0.75 + 22e-6)
    assert not outcome.usage_total.exact
    assert (outcome.mode, outcome.provider) == ("chunked", "bedrock")


def test_a_sum_without_one_of_its_prices_has_no_cost() -> None:
    meter = make_meter()
    meter.paid_calls.append(PaidCall(3, 4, purpose="title", provider="openai", model="gpt-5-mini", cost=0.5))
    for delta in (Chunk("a"), Usage(1, 2), Stopped("end_turn")):
        meter.accept(delta, 1)
    total = meter.complete().usage_total
    assert total is not None
    assert "cost" not in msgspec.to_builtins(total)


def test_details_of_the_provider_are_in_the_outcome(meter: AnswerMeter) -> None:
    for delta in (Chunk("a"), Details({"tier": "flex"}), Stopped("end_turn"), Details({"trace": {}})):
        meter.accept(delta, 1)
    assert meter.complete().provider_details == {"tier": "flex", "trace": {}}


def test_a_cancelled_or_failed_answer_names_who_gave_it_and_what_it_used() -> None:
    meter = AnswerMeter(CLAIMED, time.monotonic(), SETTINGS)
    failure = GenerationFailed("provider_unavailable", retryable=True)
    for outcome in (meter.cancelled("user"), meter.failed(failure)):
        assert (outcome.provider, outcome.usage_by, outcome.usage_total) == (None, [], None)
    meter.paid_calls.append(PaidCall(3, 4, purpose="intent", provider="openai", model="gpt-5-mini"))
    meter.start_call(Answering(Candidate("openai", "gpt-5", UNKNOWN_MODEL)))
    meter.accept(Chunk("1234"), 1)
    for outcome in (meter.cancelled("user"), meter.failed(failure)):
        assert (outcome.model, outcome.provider, outcome.requested_model) == ("gpt-5", "openai", "a-model")
        assert outcome.usage == Usage(0, 1, exact=False)
        assert [call.purpose for call in outcome.usage_by] == ["intent", "answer"]
        assert outcome.usage_total == Usage(3, 5, exact=False)


def test_calls_after_the_outcome_are_added_to_those_that_it_has(meter: AnswerMeter) -> None:
    for delta in (Chunk("a"), Usage(1, 2), Stopped("end_turn")):
        meter.accept(delta, 1)
    outcome = meter.complete()
    assert meter.with_calls(outcome) is outcome
    successor = AnswerMeter(CLAIMED, time.monotonic(), SETTINGS)
    assert successor.with_calls(outcome) is outcome
    title = PaidCall(3, 4, purpose="title", provider="openai", model="gpt-5-mini")
    for each in (meter, successor):
        each.paid_calls.append(title)
        complete = each.with_calls(outcome)
        assert complete.usage_by == [*outcome.usage_by, title]
        assert complete.usage_total == Usage(4, 6)
