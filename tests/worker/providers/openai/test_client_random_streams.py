"""Random well-formed streams of both APIs: what is read of them is what OpenAI's own client reads."""

import json
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Reasoning, ToolUse, Usage
from millrace.worker.providers.openai.chat import ChatMapper
from millrace.worker.providers.openai.responses import ResponsesMapper
from millrace.worker.providers.protocol import Delta
from millrace.worker.providers.transport.decoders import SseDecoder

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
INPUTS = st.dictionaries(TEXTS, st.integers() | TEXTS | st.lists(st.booleans(), max_size=2), max_size=2)
COUNTS = st.integers(0, 1000)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
COMMENTS = st.sampled_from(["", "", ": ping", ":", "id: 5", "retry: 9"])

Answer = tuple[str, str, list[tuple[str, str, Any]], Any]
"""The text, the reasoning, the calls of tools, and the tokens: all of the input, all of the output."""


@st.composite
def chat_events(draw: st.DrawFn) -> list[Any]:
    pieces = st.tuples(st.sampled_from(["content", "reasoning_content"]), TEXTS).map(dict_of)
    deltas: list[Any] = draw(st.lists(pieces, max_size=6))
    for index, given_input in enumerate(draw(st.lists(INPUTS, max_size=2))):
        arguments = json.dumps(given_input)
        at = draw(st.integers(0, len(arguments)))
        head: dict[str, Any] = {"index": index, "id": f"call_{index}", "type": "function"}
        deltas += [
            {"tool_calls": [head | {"function": {"name": "look_up", "arguments": ""}}]},
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[:at]}}]},
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[at:]}}]},
        ]
    chunks: list[Any] = [
        {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": draw(FINISHES)}]})
    usage = {"prompt_tokens": draw(COUNTS), "completion_tokens": draw(COUNTS), "total_tokens": 0}
    return [*chunks, {"id": "c", "choices": [], "usage": usage}, "[DONE]"]


FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


def dict_of(pair: tuple[str, str]) -> dict[str, str]:
    return {pair[0]: pair[1]}


@st.composite
def responses_events(draw: st.DrawFn) -> list[Any]:
    kinds = st.sampled_from(["response.output_text.delta", "response.reasoning_text.delta"])
    events: list[Any] = [
        {"type": kind, "delta": text} for kind, text in draw(st.lists(st.tuples(kinds, TEXTS), max_size=6))
    ]
    calls = [
        {"type": "function_call", "call_id": f"c{number}", "name": "look_up", "arguments": json.dumps(each)}
        for number, each in enumerate(draw(st.lists(INPUTS, max_size=2)))
    ]
    events += [{"type": "response.output_item.done", "output_index": 0, "item": call} for call in calls]
    usage = {"input_tokens": draw(COUNTS), "output_tokens": draw(COUNTS)}
    text = "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}, *calls]
    response = {"id": "r", "status": "completed", "output": output, "usage": usage}
    return [*events, {"type": "response.completed", "response": response}]


def pieces_of(events: list[Any], data: st.DataObject) -> list[bytes]:
    """Return the events as bytes, split anywhere, with any line ends and with comments between them."""
    end = data.draw(ENDS)
    lines: list[str] = []
    for event in events:
        name = [f"event: {event['type']}"] if isinstance(event, dict) and "type" in event else []
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=data.draw(st.booleans()))
        lines += [*filter(None, [data.draw(COMMENTS)]), *name, f"data: {text}", ""]
    whole = "".join(line + end for line in lines).encode()
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=12)))
    return [whole[start:stop] for start, stop in pairwise([0, *places, len(whole)]) if start < stop]


def ours(pieces: list[bytes], mapper: ChatMapper | ResponsesMapper) -> Answer:
    decoder = SseDecoder()
    deltas: list[Delta] = []
    for piece in pieces:
        for event in decoder.decode(piece):
            deltas += mapper.map(event.name, event.data)
    deltas += mapper.end()
    calls = [(delta.id, delta.name, delta.input) for delta in deltas if isinstance(delta, ToolUse)]
    (usage,) = [delta for delta in deltas if isinstance(delta, Usage)]
    tokens = (usage.input_tokens + usage.cache_read_tokens, usage.output_tokens)
    texts = ["".join(delta.content for delta in deltas if isinstance(delta, kind)) for kind in (Chunk, Reasoning)]
    return texts[0], texts[1], calls, tokens


class Sdk:
    """OpenAI's client, to which every response is `pieces`."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        transport = httpx2.MockTransport(self._respond)
        self.client = openai.OpenAI(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))

    def _respond(self, _request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, content=iter(self.pieces))


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    made = Sdk()
    yield made
    made.client.close()


@settings(max_examples=50)
@given(events=chat_events(), data=st.data())
def test_a_chat_completion_is_read_as_by_openais_client(sdk: Sdk, events: list[Any], data: st.DataObject) -> None:
    pieces = sdk.pieces = pieces_of(events, data)
    text = reasoning = ""
    calls: list[tuple[int, Any]] = []
    tokens: Any = None
    for chunk in sdk.client.chat.completions.create(model="m", messages=[], stream=True):
        if chunk.usage:
            tokens = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            calls += [(call.index, call) for call in choice.delta.tool_calls or []]
    whole = [
        (members[0].id, members[0].function.name, json.loads("".join(each.function.arguments for each in members)))
        for members in ([call for _, call in group] for _, group in groupby(calls, lambda pair: pair[0]))
    ]
    assert ours(pieces, ChatMapper()) == (text, reasoning, whole, tokens)


@settings(max_examples=50)
@given(events=responses_events(), data=st.data())
def test_a_response_is_read_as_by_openais_client(sdk: Sdk, events: list[Any], data: st.DataObject) -> None:
    pieces = sdk.pieces = pieces_of(events, data)
    text = reasoning = ""
    calls: list[tuple[str, str, Any]] = []
    tokens: Any = None
    for event in sdk.client.responses.create(model="m", input="?", stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.reasoning_text.delta":
            reasoning += event.delta
        elif event.type == "response.output_item.done" and event.item.type == "function_call":
            calls.append((event.item.call_id, event.item.name, json.loads(event.item.arguments)))
        elif event.type == "response.completed" and event.response.usage:
            tokens = (event.response.usage.input_tokens, event.response.usage.output_tokens)
    assert ours(pieces, ResponsesMapper()) == (text, reasoning, calls, tokens)
