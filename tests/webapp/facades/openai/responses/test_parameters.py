import re
from typing import Any

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from millrace.webapp.facades.openai.responses.objects import EchoedParameters
from millrace.webapp.facades.openai.responses.parameters import parse_parameters
from millrace.webapp.problems import Problem
from millrace.worker.settings.schema import Settings
from tests.docs.pages import ROOT, read
from tests.webapp.facades.openai.responses.logs import check_error
from tests.webapp.harness import WHOLE, WebHarness, json_of

SETTINGS = Settings.of()
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}


def refusal(**body: Any) -> tuple[int, str, str]:
    """Return the status, the code and the parameter of the problem that a body causes."""
    with pytest.raises(Problem) as caught:
        parse_parameters({"input": "a", **body}, SETTINGS)
    members: dict[str, Any] = caught.value.members
    return caught.value.status, caught.value.code, members.get("param") or members.get("field") or ""


NEUTRAL: list[dict[str, Any]] = [
    {"tools": []},
    {"tool_choice": "auto"},
    {"tool_choice": "none"},
    {"parallel_tool_calls": False},
    {"reasoning": {"effort": None, "summary": "auto"}},
    {"reasoning": {}},
    {"truncation": "auto"},
    {"truncation": "disabled"},
    {"include": ["reasoning.encrypted_content", "web_search_call.action.sources"]},
    {"service_tier": "flex"},
    {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
    {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
    {"top_logprobs": 0},
    {"stream_options": {"include_obfuscation": True}},
    {"store": True, "background": False, "stream": False},
]
ABSENT = (
    *("model", "instructions", "previous_response_id", "store", "stream", "background", "max_output_tokens"),
    *("temperature", "top_p", "metadata", "text", "reasoning", "include", "truncation", "stream_options", "tools"),
    *("tool_choice", "parallel_tool_calls", "max_tool_calls", "conversation", "prompt", "top_logprobs", "user"),
    *("service_tier", "safety_identifier", "prompt_cache_key", "context_management", "moderation", "image"),
)


@pytest.mark.parametrize("body", NEUTRAL, ids=str)
def test_parameter_that_asks_for_what_happens_anyway_changes_nothing(body: dict[str, Any]) -> None:
    plain, given = (parse_parameters({"input": "a", **each}, SETTINGS) for each in ({}, body))
    assert given.options == plain.options
    assert given.input == plain.input


def test_null_and_an_empty_text_count_as_absent_for_every_parameter() -> None:
    plain = parse_parameters({"input": "a"}, SETTINGS)
    for name in ("store", "max_output_tokens", "temperature", "top_p", "text", "reasoning", "truncation", "background"):
        assert parse_parameters({"input": "a", name: ""}, SETTINGS).echo == EchoedParameters()
    assert parse_parameters({"input": "a", **dict.fromkeys(ABSENT)}, SETTINGS) == plain
    assert plain.echo == EchoedParameters()
    assert plain.is_stored
    assert not plain.is_streamed
    assert not plain.is_in_background


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "name": "f"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"max_tool_calls": 1}, "max_tool_calls"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"service_tier": "unknown"}, "service_tier"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
    ],
    ids=str,
)
def test_parameter_that_would_change_the_answer_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    assert refusal(**body) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"temperture": 1}, "unknown_parameter", "temperture"),
        ({"x" * 500: 1}, "unknown_parameter", "x" * 200),
        ({"reasoning": {"size": 1}}, "unknown_parameter", "reasoning.size"),
        ({"text": {"form": 1}}, "unknown_parameter", "text.form"),
        ({"text": {"format": {"type": "text", "x": 1}}}, "unknown_parameter", "text.format.x"),
        ({"stream_options": {"include_usage": True}}, "unknown_parameter", "stream_options.include_usage"),
        ({"text": {"format": "text"}}, "invalid_type", "text.format"),
        ({"text": {"format": {"type": "grammar"}}}, "invalid_value", "text.format.type"),
        ({"text": {"format": {"type": ["text"]}}}, "invalid_value", "text.format.type"),
        ({"text": {"format": {**FORMAT, "name": None}}}, "missing_required_parameter", "text.format.name"),
        ({"text": {"format": {**FORMAT, "schema": "x"}}}, "invalid_type", "text.format.schema"),
        ({"text": {"format": {**FORMAT, "description": 1}}}, "invalid_type", "text.format.description"),
        ({"user": 1}, "invalid_type", "user"),
    ],
    ids=str,
)  # fmt: skip
def test_unknown_or_malformed_parameter_is_refused_by_name(body: dict[str, Any], code: str, param: str) -> None:
    assert refusal(**body) == (400, code, param)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instructions", 1),
        ("previous_response_id", 1),
        ("store", "yes"),
        ("stream", 1),
        ("background", "true"),
        ("max_output_tokens", 0),
        ("max_output_tokens", "1"),
        ("temperature", 2.5),
        ("top_p", -1),
        ("metadata", {"a": 1}),
        ("text", "text"),
        ("reasoning", "high"),
        ("include", "a"),
        ("include", [1]),
        ("truncation", "middle"),
        ("stream_options", True),
    ],
)
def test_value_of_a_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == (422, "invalid_field", name)  # 400 in the protocol


def test_model_that_does_not_exist_is_not_found() -> None:
    assert refusal(model="unknown") == (404, "model_not_found", "model")


def test_missing_input_is_named() -> None:
    with pytest.raises(Problem) as caught:
        parse_parameters({"model": SETTINGS.default_model}, SETTINGS)
    assert (caught.value.code, caught.value.members["param"]) == ("missing_required_parameter", "input")


def test_forms_of_the_answer() -> None:
    assert parse_parameters({"input": "a"}, SETTINGS).options["response_format"] is None
    schema = parse_parameters({"input": "a", "text": {"format": FORMAT}}, SETTINGS)
    assert schema.options["response_format"] == {"type": "json_schema", "schema": SCHEMA}
    described = parse_parameters({"input": "a", "text": {"format": {**FORMAT, "description": "A name."}}}, SETTINGS)
    assert described.options["response_format"]["schema"] == {"description": "A name.", **SCHEMA}
    anything = parse_parameters({"input": "a", "text": {"format": {"type": "json_object"}}}, SETTINGS)
    assert anything.options["response_format"]["schema"] == {"type": "object"}


def test_echo_and_the_question_that_an_idempotency_key_stands_for() -> None:
    body = {"input": "a", "stream": True, "background": True, "store": False, "temperature": 0.5, "user": "u"}
    asked = parse_parameters({**body, "text": {"verbosity": None}}, SETTINGS)
    text = {"format": {"type": "text"}, "verbosity": None}
    assert asked.echo == EchoedParameters(background=True, store=False, temperature=0.5, user="u", text=text)
    assert asked.options["on_disconnect"] == "continue"
    assert "stream" not in asked.question
    assert asked.question["temperature"] == 0.5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"text": {"format": {**FORMAT, "schema": {"type": "string", "pattern": "a"}}}}, "text.format"),
        ({"input": ""}, "input"),
        ({"input": [{"role": "assistant", "content": "a"}]}, "input"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
    ],
)
def test_limits_of_the_server_are_named_as_parameters_of_the_protocol(
    site: WebHarness, body: dict[str, Any], param: str
) -> None:
    check_error(site.user.post("/v1/responses", json={"input": "a", **body}), 400, "invalid_value", param)
    assert site.made() == []


def test_every_parameter_of_the_answer_reaches_the_model(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    body = {"temperature": 0.5, "max_output_tokens": 99, "metadata": {"a": "b"}, "text": {"format": FORMAT}}
    response = json_of(site.user.post("/v1/responses", json={"input": "a", **body}))
    request = worker.get().request
    assert (request.temperature, request.max_tokens, request.schema) == (0.5, 99, SCHEMA)
    assert (request.metadata, response["text"]["format"]) == ({"a": "b"}, FORMAT)
    assert (response["temperature"], response["max_output_tokens"]) == (0.5, 99)


def problems_of(body: dict[str, Any]) -> list[tuple[str, Any]]:
    try:
        parse_parameters(body, SETTINGS)
    except Problem as problem:
        return [(problem.code, problem.members.get("param"))]
    return []


def test_every_parameter_of_the_sdk_is_known_and_documented() -> None:
    """A version of the SDK with a new parameter fails here, until it is honoured or refused."""
    names = set[str]()
    for params in (ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming):
        for each in (params, *params.__orig_bases__):  # type: ignore[attr-defined]
            names |= set(each.__annotations__)
    for name in sorted(names - {"input"}):
        assert ("unknown_parameter", name) not in problems_of({"input": "a", name: {"unexpected": 1}})
    page = read(ROOT / "webapp/docs/use-from-openai-responses.md").partition("## Parameters\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == names
