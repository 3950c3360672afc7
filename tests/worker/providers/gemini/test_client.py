"""The Gemini provider over real sockets: its requests, the ends of its streams, and its agreement with Google's SDK."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from google.genai import Client
from google.genai.types import HttpOptions, HttpRetryOptions

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.gemini import client as gemini_client
from millrace.worker.providers.gemini.client import Gemini
from millrace.worker.providers.gemini.mapping import FINISH_REASONS
from millrace.worker.providers.protocol import Delta, Prompt, Started, Stopped, Tool
from millrace.worker.settings.catalog import ModelTraits
from millrace.worker.settings.schema import load
from tests.emulator.sdk import random_scripts
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.http_server import chunked, hang, plain, serving

MODEL = "gemini-3-pro"
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
TOOL = Tool("name_it", "Names a conversation.", SCHEMA)
HAS_SCHEMA = ModelTraits(1_000_000, schema=True)
REASONS = ["STOP", "MAX_TOKENS", "SAFETY", "OTHER"]

MakeGemini = Callable[[str], Gemini]


@pytest.fixture
def make_gemini() -> Iterator[MakeGemini]:
    made: list[Gemini] = []

    def make(url: str) -> Gemini:
        own = {"MILLRACE_GEMINI_BASE_URL": f"{url}/v1beta/", "MILLRACE_GEMINI_API_KEY": "a-key"}
        made.append(Gemini(load(own | {"MILLRACE_READ_SECONDS": "5"}), 5))
        return made[-1]

    yield make
    for each in made:
        each.close()


def prompt_of(text: str, **fields: Any) -> Prompt:
    return Prompt(MODEL, (PromptMessage("user", text),), 9999, **fields)


def event(text: str = "", reason: str | None = None, **members: Any) -> bytes:
    """Return a server-sent event with one part, as Google frames it."""
    candidate = {"content": {"parts": [{"text": text}]}, "index": 0} | ({"finishReason": reason} if reason else {})
    return b"data: %b\r\n\r\n" % json.dumps({"candidates": [candidate]} | members).encode()


def text_of(deltas: list[Started | Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Chunk))


def reason_of(deltas: list[Started | Delta]) -> str | None:
    return next((delta.reason for delta in deltas if isinstance(delta, Stopped)), None)


def test_random_answers_agree_with_the_official_sdk(emulator: EmulatorProcess, make_gemini: MakeGemini) -> None:
    gemini = make_gemini(emulator.url)
    sources = 0
    options = HttpOptions(base_url=emulator.url, timeout=10_000, retry_options=HttpRetryOptions(attempts=1))
    with Client(api_key="a-key", http_options=options) as sdk:
        for keys in random_scripts(25, finish_reason=REASONS, search=[True]):
            script = emulate(**keys)
            theirs = list(sdk.models.generate_content_stream(model=MODEL, contents=script))
            ours = list(gemini.stream(prompt_of(script)))
            parts = [
                part
                for each in theirs
                if each.candidates and each.candidates[0].content
                for part in each.candidates[0].content.parts or []
            ]
            assert text_of(ours) == "".join(part.text or "" for part in parts if not part.thought), keys
            thoughts = "".join(part.text or "" for part in parts if part.thought)
            assert "".join(delta.content for delta in ours if isinstance(delta, Reasoning)) == thoughts, keys
            calls = [(call.id, call.name, call.args) for part in parts if (call := part.function_call)]
            assert [(use.id, use.name, use.input) for use in ours if isinstance(use, ToolUse)] == calls, keys
            grounding = [each.candidates[0].grounding_metadata for each in theirs if each.candidates]
            pages = [each.web.uri for one in grounding if one for each in one.grounding_chunks or [] if each.web]
            cited = [delta.source for delta in ours if isinstance(delta, Citation)]
            assert cited == list(dict.fromkeys(pages)), keys
            sources += len(cited)
            assert theirs[-1].candidates
            found = theirs[-1].candidates[0].finish_reason
            expected = FINISH_REASONS.get(found.value if found else "", "other")
            assert reason_of(ours) == ("tool_use" if calls and expected == "end_turn" else expected), keys
            counts, usage = theirs[-1].usage_metadata, ours[-1]
            assert counts
            assert isinstance(usage, Usage)
            assert usage.input_tokens + usage.cache_read_tokens == counts.prompt_token_count
            assert usage.output_tokens == (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
            whole = gemini.answer(prompt_of(script)) if expected in ("end_turn", "max_tokens", "other") else None
            assert whole is None or (whole.text, whole.usage) == (text_of(ours), usage), keys
    assert sources


def test_a_request_names_the_model_in_its_path_and_carries_the_key_in_a_header(make_gemini: MakeGemini) -> None:
    with serving(chunked([event("a", "STOP")])) as server:
        gemini = make_gemini(server.url)
        for model in ("gemini-3-pro", "tunedModels/a b", "m:1k?x#y"):
            assert text_of(list(gemini.stream(Prompt(model, (PromptMessage("user", "?"),), 9)))) == "a"
        assert server.connections == 1, "the connection is reused"
    heads = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n") for request in server.requests]
    assert [lines[0] for lines in heads] == [
        "POST /v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse HTTP/1.1",
        "POST /v1beta/tunedModels/a%20b:streamGenerateContent?alt=sse HTTP/1.1",
        "POST /v1beta/models/m:1k%3Fx%23y:streamGenerateContent?alt=sse HTTP/1.1",
    ]
    assert all("x-goog-api-key: a-key" in lines for lines in heads)


def test_a_forced_tool_is_answered_and_a_cut_one_is_truncated(
    emulator: EmulatorProcess, make_gemini: MakeGemini
) -> None:
    gemini = make_gemini(emulator.url)
    forced = emulate(forced={TOOL.name: {"tool": {"input": {"title": "Mills"}}}})
    answer = gemini.answer(prompt_of(forced, tool=TOOL))
    assert (answer.tool_input, answer.reason) == ({"title": "Mills"}, "tool_use")
    for keys, code in (({"finish_reason": "MAX_TOKENS"}, "truncated"), ({"blocked": "SAFETY"}, "content_filtered")):
        with pytest.raises(ProviderError) as raised:
            gemini.answer(prompt_of(emulate(forced={TOOL.name: keys}), tool=TOOL))
        assert raised.value.code == code


def refusing(message: str, feature: str) -> Callable[[Any, bytes], None]:
    """Return the answer of a model that refuses requests with a feature, and else writes JSON."""

    def answer(connection: Any, request: bytes) -> None:
        if feature.encode() in request.partition(b"\r\n\r\n")[2]:
            error = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
            connection.sendall(plain(400, json.dumps(error).encode()))
        else:
            parts = {"content": {"parts": [{"text": '{"title": "Mills"}'}]}, "finishReason": "STOP"}
            connection.sendall(plain(200, json.dumps({"candidates": [parts]}).encode()))

    return answer


@pytest.mark.parametrize(
    ("message", "feature", "fields", "requests"),
    [
        ("Thinking is not enabled for models/x", "thinkingConfig", {}, 3),
        ("Function calling is not enabled for models/x", '"tools"', {"tool": TOOL}, 3),
        ("Invalid value at 'tools[0].function_declarations[0]'", '"tools"', {"tool": TOOL}, 4),
        ("Developer instruction is not enabled for models/x", "systemInstruction", {"system": ("Be brief.",)}, 3),
        ("The specified schema is too complex.", "responseJsonSchema", {"schema": SCHEMA, "traits": HAS_SCHEMA}, 4),
    ],
)
def test_a_refused_feature_is_left_out_and_remembered_if_the_model_never_takes_it(
    make_gemini: MakeGemini, message: str, feature: str, fields: dict[str, Any], requests: int
) -> None:
    with serving(refusing(message, feature)) as server:
        gemini = make_gemini(server.url)
        answers = [gemini.answer(prompt_of("?", **fields)) for _ in range(2)]
    assert [(each.text, each.tool_input) for each in answers] == [
        ('{"title": "Mills"}', {"title": "Mills"} if "tool" in fields else None)
    ] * 2
    assert len(server.requests) == requests


def test_a_rejection_that_names_no_feature_of_the_request_is_final(make_gemini: MakeGemini) -> None:
    for message in ("Request contains an invalid argument.", "Developer instruction is not enabled for models/x"):
        with serving(refusing(message, "contents")) as server:
            with pytest.raises(ProviderError) as raised:
                make_gemini(server.url).answer(prompt_of("?", tool=TOOL))
            assert (raised.value.code, len(server.requests)) == ("provider_rejected", 1)


def test_stop_in_every_part_does_not_end_an_answer_early(
    make_gemini: MakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_client, "REST_SECONDS", 0.1)
    pieces = [event("", "STOP"), event("a", "STOP"), event("b", "STOP"), event("c", "STOP"), event("", "STOP")]
    with serving(chunked(pieces)) as server:
        deltas = list(make_gemini(server.url).stream(prompt_of("?")))
    assert (text_of(deltas), reason_of(deltas)) == ("abc", "end_turn")

    def cut(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked(pieces[:3], end=b""))
        connection.close()

    with serving(cut) as server, pytest.raises(ProviderError) as raised:
        list(make_gemini(server.url).stream(prompt_of("?")))
    assert raised.value.code == "provider_unavailable", "here the reason has lost its meaning"


def test_a_failure_behind_the_finish_reason_costs_no_more_than_the_usage(
    make_gemini: MakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_client, "REST_SECONDS", 0.1)
    usage = b'data: {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}\r\n\r\n'
    for rest, expected in ((usage, Usage(3, 2)), (b"", None)):

        def stall(connection: Any, _request: bytes, rest: bytes = rest) -> None:
            connection.sendall(chunked([event("a"), event("", "STOP"), *([rest] if rest else [])], end=b""))
            hang(connection)

        def cut(connection: Any, _request: bytes, rest: bytes = rest) -> None:
            connection.sendall(chunked([event("a"), event("", "STOP"), *([rest] if rest else [])], end=b""))
            connection.close()

        for answer in (stall, cut):
            with serving(answer) as server:
                deltas = list(make_gemini(server.url).stream(prompt_of("?")))
            assert (text_of(deltas), reason_of(deltas)) == ("a", "end_turn")
            assert next((delta for delta in deltas if isinstance(delta, Usage)), None) == expected


def test_an_answer_ends_in_time_and_whole_though_its_service_goes_on_behind_the_finish_reason(
    make_gemini: MakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_client, "REST_SECONDS", 0.3)

    def drip(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked([event("a", "STOP")], end=b""))
        while True:
            connection.sendall(b"3\r\n:\n\n\r\n")
            gevent.sleep(0.05)

    with gevent.Timeout(30), serving(drip) as server:
        deltas = list(make_gemini(server.url).stream(prompt_of("?")))
        assert (text_of(deltas), reason_of(deltas)) == ("a", "end_turn")
    for rest in (b"data: {\n\n", b'data: {"error": {"code": 500}}\n\n', b"data: " + b"x" * (17 << 20) + b"\n\n"):
        with serving(chunked([event("a", "STOP"), rest])) as server:
            deltas = list(make_gemini(server.url).stream(prompt_of("?")))
        assert (text_of(deltas), reason_of(deltas)) == ("a", "end_turn"), rest[:50]
    with serving(chunked([event("a"), event("", "STOP").rstrip()])) as server:
        deltas = list(make_gemini(server.url).stream(prompt_of("?")))
    assert (text_of(deltas), reason_of(deltas)) == ("a", "end_turn"), "the last empty line is missing"


def test_an_error_that_stands_bare_in_the_stream_has_its_code(make_gemini: MakeGemini) -> None:
    error = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
    for text in (json.dumps(error, indent=2), json.dumps([error], indent=2), json.dumps(error)):
        for end in ("", "\n", "\r\n"):
            with serving(chunked([event("a"), (text + end).encode()])) as server:
                with pytest.raises(ProviderError) as raised:
                    list(make_gemini(server.url).stream(prompt_of("?")))
                assert raised.value.code == "provider_throttled"
    with serving(chunked([event("a"), b"something else\n{}\n"])) as server:
        assert reason_of(list(make_gemini(server.url).stream(prompt_of("?")))) is None


def test_a_service_that_answers_in_json_in_place_of_a_stream_is_understood(make_gemini: MakeGemini) -> None:
    parts = [json.loads(each.removeprefix(b"data: ")) for each in (event("a"), event("b", "STOP"))]
    with serving(plain(200, json.dumps(parts).encode(), "application/json; charset=UTF-8")) as server:
        deltas = list(make_gemini(server.url).stream(prompt_of("?")))
    assert deltas[0] == Started("gemini", MODEL, "whole")
    assert (text_of(deltas), reason_of(deltas)) == ("ab", "end_turn")
