"""Whole chat completions, and why they ended."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion as TypedCompletion

from millrace.webapp.facades.openai.chat_format import completion_of, finish_reason_of, usage_of
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    Done,
    Error,
    Latency,
    Reasoning,
    ToolUse,
    Usage,
)
from millrace.worker.contract.transcript import fold

USAGE = Usage(10, 7, cache_read_tokens=100, cache_write_tokens=1000, reasoning_tokens=3)


def complete(reason: str = "end_turn") -> Complete:
    return Complete("live", reason, USAGE, Latency(1, 2), "model", "bedrock", "m", stored=False)


def completion(*events: AnyEvent) -> Any:
    """Return the completion as the SDK types it; raises ValidationError where it has another form."""
    body = msgspec.to_builtins(completion_of("chatcmpl-1", 5, "one", fold(events)))
    return TypedCompletion.model_validate(body, strict=False)


def test_whole_answer_is_a_typed_completion() -> None:
    found = completion(Reasoning("Hm."), Chunk("Hel"), Chunk("lo."), complete(), Done("completed"))
    assert (found.id, found.object, found.created, found.model) == ("chatcmpl-1", "chat.completion", 5, "one")
    (choice,) = found.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", "Hello.", None)
    assert choice.message.reasoning_content == "Hm."
    assert choice.message.tool_calls is None


def test_usage_counts_as_openai_does() -> None:
    usage = usage_of(USAGE)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1110, 7, 1117)
    assert usage.prompt_tokens_details.cached_tokens == 100
    assert usage.completion_tokens_details.reasoning_tokens == 3


def test_calls_that_the_model_waits_for_are_tool_calls() -> None:
    use = ToolUse("t1", "weather", {"city": "Ghent", "été": True})
    found = completion(use, complete("tool_use"))
    (choice,) = found.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert (call.id, call.type, call.function.name) == ("t1", "function", "weather")
    assert json.loads(call.function.arguments) == use.input
    ran_on_the_providers_side = completion(use, Chunk("It rains."), complete())
    assert ran_on_the_providers_side.choices[0].message.tool_calls is None


def test_cited_web_pages_are_annotations_each_once() -> None:
    page = Citation("Mill", "the web", None, {"web": {"url": "https://mill.example"}})
    untitled = Citation(None, None, None, {"web": {"url": "https://weir.example"}})
    place = Citation("Book", "a book", None, {"documentPage": {"documentIndex": 0}})
    found = completion(Chunk("Hello."), page, untitled, page, place, Citation("Bare"), complete())
    assert [(each.type, each.url_citation.model_dump()) for each in found.choices[0].message.annotations] == [
        ("url_citation", {"url": url, "title": title, "start_index": 0, "end_index": 6})
        for url, title in (("https://mill.example", "Mill"), ("https://weir.example", "https://weir.example"))
    ]
    assert completion(Chunk("Hello."), place, complete()).choices[0].message.annotations is None


@pytest.mark.parametrize(
    ("outcome", "has_text", "reason"),
    [
        (complete("end_turn"), True, "stop"),
        (complete("stop_sequence"), True, "stop"),
        (complete("other"), True, "stop"),
        (complete("max_tokens"), True, "length"),
        (complete("tool_use"), False, "tool_calls"),
        (Cancelled("user", Usage()), True, "length"),
        (Error("content_filtered", "", retryable=False), True, "content_filter"),
        (Error("content_filtered", "", retryable=False), False, None),
        (Error("truncated", "", retryable=False), True, None),
        (None, True, None),
    ],
)
def test_finish_reasons(outcome: Any, has_text: bool, reason: str | None) -> None:
    assert finish_reason_of(outcome, has_text=has_text) == reason


def test_completion_that_is_being_written_has_no_finish_reason() -> None:
    body = msgspec.to_builtins(completion_of("chatcmpl-1", 5, "one", fold([Chunk("He")])))
    assert body["choices"][0]["finish_reason"] is None
    assert (body["choices"][0]["message"]["content"], body["usage"]) == ("He", None)


def test_cancelled_completion_says_by_whom() -> None:
    body = msgspec.to_builtins(completion_of("c", 5, "one", fold([Chunk("He"), Cancelled("user", USAGE)])))
    assert (body["cancelled_by"], body["choices"][0]["finish_reason"]) == ("user", "length")
    assert "cancelled_by" not in msgspec.to_builtins(completion_of("c", 5, "one", fold([complete()])))
