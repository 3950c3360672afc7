"""Tests of responses: the official SDK reads the endpoint's events, and its own accumulation checks them."""

import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.harness import emulate
from tests.emulator.openai.test_chat_format import scripts
from tests.emulator_process import EmulatorProcess

ENDINGS = [
    ({}, "response.completed", "completed", None),
    ({"stop_reason": "max_tokens"}, "response.incomplete", "incomplete", "max_output_tokens"),
    ({"stop_reason": "content_filtered"}, "response.incomplete", "incomplete", "content_filter"),
    ({"finish_reason": "a new one"}, "response.incomplete", "incomplete", "a new one"),
    ({"finish_reason": None}, "response.completed", None, None),
]


def stream(sdk: openai.OpenAI, script: dict[str, Any], **fields: Any) -> list[Any]:
    """Return the events of a streamed response; raises the SDK's errors."""
    with sdk.responses.create(model="a-model", input=emulate(**script), stream=True, **fields) as events:
        return list(events)


def contents(output: list[Any]) -> list[tuple[str, str]]:
    """Return the kind and the text of each item."""
    found: list[tuple[str, str]] = []
    for item in output:
        match item.type:
            case "message":
                (part,) = item.content
                found.append((part.type, part.refusal if part.type == "refusal" else part.text))
            case "reasoning":
                (part,) = item.content or item.summary
                found.append((part.type, part.text))
            case _:
                found.append((item.name, item.arguments))
    return found


@settings(max_examples=40)
@given(script=scripts, is_raw=st.booleans())
def test_the_sdk_assembles_any_scripted_answer_streamed_and_whole(
    sdk: openai.OpenAI, script: dict[str, Any], is_raw: bool
) -> None:
    script = script | {"reasoning_field": "reasoning_text" if is_raw else None}
    with sdk.responses.stream(model="a-model", input=emulate(**script)) as events:
        received: list[Any] = list(events)
        final = events.get_final_response()
    whole = sdk.responses.create(model="a-model", input=emulate(**script))
    expected = [(f"{'reasoning' if is_raw else 'summary'}_text", script["reasoning"])] if "reasoning" in script else []
    expected += [(call["name"], json.dumps(call["input"])) for call in script.get("tools", [])]
    last = ("refusal", script["refusal"]) if "refusal" in script else ("output_text", script["text"])
    expected += [last] if last[1] else []
    assert contents(final.output) == contents(whole.output) == expected
    assert [event.sequence_number for event in received] == list(range(len(received)))
    deltas: dict[int, str] = {}
    stated: dict[int, str] = {}  # by the event that ends the deltas
    for event in received:
        if event.type.endswith(".delta"):
            deltas[event.output_index] = deltas.get(event.output_index, "") + event.delta
        elif event.type.endswith(("_text.done", "refusal.done", "arguments.done")):
            texts = [getattr(event, name, None) for name in ("text", "refusal", "arguments")]
            (stated[event.output_index],) = [text for text in texts if text is not None]
    assert [deltas[index] for index in sorted(deltas)] == [text for _, text in expected]
    assert stated == deltas
    assert whole.usage == final.usage
    assert whole.usage
    assert (whole.usage.output_tokens_details.reasoning_tokens > 0) == ("reasoning" in script)


def test_each_event_is_named_by_its_type(sdk: openai.OpenAI) -> None:
    script = {"text": "Noon.", "reasoning": "Hm.", "tool": {"name": "clock", "input": {}}, "chars": 9}
    names = [event.type.removeprefix("response.") for event in stream(sdk, script)]
    assert names == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", *["function_call_arguments.delta"] * 2, "function_call_arguments.done"),
        *("output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]


@pytest.mark.parametrize(("script", "event", "status", "reason"), ENDINGS)
def test_the_last_event_states_how_the_response_ended(
    sdk: openai.OpenAI, script: dict[str, Any], event: str, status: str | None, reason: str | None
) -> None:
    last = stream(sdk, script | {"text": "x"})[-1]
    whole = sdk.responses.create(model="a-model", input=emulate(**script, text="x"))
    assert last.type == event
    for response in (last.response, whole):
        assert response.status == status
        assert (response.incomplete_details and response.incomplete_details.reason) == reason


def test_reasoning_is_encrypted_only_where_the_request_asks_for_it(sdk: openai.OpenAI) -> None:
    script = {"text": "x", "reasoning": "Hm."}
    for include in ([], ["reasoning.encrypted_content"]):
        item = stream(sdk, script, include=include)[-1].response.output[0]
        assert bool(item.encrypted_content) == bool(include)


def test_an_error_within_the_stream_is_an_event_or_a_failed_response(
    sdk: openai.OpenAI, emulator: EmulatorProcess
) -> None:
    fault = {"status": 500, "code": "server_error", "message": "Gone.", "in_stream": True}
    last = stream(sdk, {"tokens": 3, "fault": fault, "at": 2})[-1]
    assert (last.type, last.code, last.message) == ("error", "server_error", "Gone.")
    last = stream(sdk, {"tokens": 3, "fault": fault | {"kind": "error"}, "at": 2})[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert (last.response.error.code, last.response.error.message) == ("server_error", "Gone.")
    assert [(call["operation"], call["ended"]) for call in emulator.calls()] == [("Responses", "fault")] * 2


@pytest.mark.parametrize("fault", ["no_stop", "no_end"])
def test_the_stream_can_end_without_the_whole_response(sdk: openai.OpenAI, fault: str) -> None:
    names = [event.type for event in stream(sdk, {"text": "Noon.", "fault": fault, "at": 99})]
    assert "response.completed" not in names
    assert (names[-1] == "response.output_item.done") == (fault == "no_end")


def test_a_search_is_an_item_and_its_pages_are_annotations_of_the_text(sdk: openai.OpenAI) -> None:
    page = {"title": "The weir", "url": "https://example.org/weir", "cited": "Two metres."}
    script = {"text": "Two metres.", "search": [page, page | {"url": "https://example.org/race"}]}
    with sdk.responses.stream(model="a-model", input=emulate(**script)) as events:
        names = [event.type for event in events]
        final: Any = events.get_final_response()
    search, message = final.output
    assert (search.type, search.status, search.action.query) == ("web_search_call", "completed", "The weir")
    cited = message.content[0].annotations
    assert [each.url for each in cited] == ["https://example.org/weir", "https://example.org/race"]
    assert names.count("response.output_text.annotation.added") == 2
    assert names.count("response.web_search_call.completed") == 1
