"""Every parameter of a chat completion: honoured, refused with its name, or without effect."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from millrace.webapp.facades.openai.chat_request import CompletionRequest, parse_completion
from millrace.webapp.problems import Problem
from millrace.worker.contract.request import PromptMessage
from millrace.worker.settings.schema import Settings
from tests.docs.pages import ROOT, read

Json = dict[str, Any]

SETTINGS = Settings.of(model_id="one", allowed_models=("two",), allow_system=True)
ASKED = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def parsed(*messages: Json, settings: Settings = SETTINGS, **parameters: Any) -> CompletionRequest:
    return parse_completion({"messages": list(messages) or ASKED, **parameters}, settings)


def rejection(body: Json, settings: Settings = SETTINGS) -> tuple[int, str, str]:
    """Return the status, the code and the parameter that a body is rejected with."""
    with pytest.raises(Problem) as raised:
        parse_completion(body, settings)
    problem = raised.value
    members: Json = problem.members
    return problem.status, problem.code, str(members.get("param") or members.get("field"))


HONOURED: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("two", {"model": "two"}),
    "max_tokens": (7, {"max_tokens": 7}),
    "max_completion_tokens": (8, {"max_tokens": 8}),
    "temperature": (0.5, {"temperature": 0.5}),
    "top_p": (0.25, {"top_p": 0.25}),
    "stop": (["a", "b"], {"stop_sequences": ["a", "b"]}),
    "response_format": ({"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}, {"schema": SCHEMA}),
    "metadata": ({"a": "b"}, {"metadata": {"a": "b"}}),
}
REFUSED: dict[str, Any] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "logit_bias": {"50256": -100},
    "presence_penalty": 0.5,
    "frequency_penalty": -1,
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "mp3"},
    "prediction": {"type": "content", "content": "x"},
    "moderation": {"model": "m"},
    "reasoning_effort": "low",
    "verbosity": "low",
    "seed": 1,
    "store": True,
    "service_tier": "flex",
    "parallel_tool_calls": "yes",
}
WITHOUT_EFFECT: dict[str, Any] = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "functions": [],
    "function_call": "none",
    "logit_bias": {},
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "modalities": ["text"],
    "store": False,
    "service_tier": "auto",
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit"},
}
FORM = {"messages", "stream", "stream_options", "web_search_options"}


def test_every_parameter_of_the_sdk_is_decided_on() -> None:
    """A version of the SDK with a new parameter fails here, until it is honoured or refused."""
    known = set(CompletionCreateParamsNonStreaming.__annotations__) | set(
        CompletionCreateParamsStreaming.__annotations__
    )
    for params in (CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming):
        for base in params.__orig_bases__:  # type: ignore[attr-defined]
            known |= set(base.__annotations__)
    assert known == HONOURED.keys() | REFUSED.keys() | WITHOUT_EFFECT.keys() | FORM


def test_every_parameter_is_documented() -> None:
    section = read(ROOT / "webapp/docs/use-from-openai.md").partition("## Chat completions\n")[2].partition("\n### ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(HONOURED.keys() | REFUSED.keys() | WITHOUT_EFFECT.keys() | FORM)


def test_honoured_parameter_reaches_the_model() -> None:
    for name, (value, fields) in HONOURED.items():
        request = parsed(**{name: value}).parsed.request
        assert {field: getattr(request, field) for field in fields} == fields, name


def test_refused_parameter_is_named() -> None:
    for name, value in REFUSED.items():
        assert rejection({"messages": ASKED, name: value}) == (400, "unsupported_parameter", name)


def test_value_without_effect_is_accepted() -> None:
    plain = parsed().parsed
    for name, value in WITHOUT_EFFECT.items():
        assert parsed(**{name: value}).parsed == plain, name


def test_null_counts_as_absent() -> None:
    every = HONOURED.keys() | REFUSED.keys() | WITHOUT_EFFECT.keys() | FORM - {"messages"}
    assert parse_completion({"messages": ASKED, **dict.fromkeys(every)}, SETTINGS) == parsed()


def test_unknown_parameter_is_named() -> None:
    assert rejection({"messages": ASKED, "temprature": 1}) == (400, "unknown_parameter", "temprature")


def test_request_is_stateless_and_searches_only_when_it_says_so() -> None:
    request = parsed().parsed
    assert (request.is_turn, request.conversation, request.request.model) == (False, None, "one")
    searching = SETTINGS.replace(search_engine="searxng", search_url="http://127.0.0.1:1")
    assert parsed(settings=searching).parsed.request.search is False
    for options in ({}, {"search_context_size": "medium"}):
        assert parsed(settings=searching, web_search_options=options).parsed.request.search is True
    assert rejection({"messages": ASKED, "web_search_options": {}})[2] == "web_search_options"
    for options in ({"search_context_size": "high"}, {"user_location": {"type": "approximate"}}):
        assert rejection({"messages": ASKED, "web_search_options": options}, searching)[2] == "web_search_options"


def test_stream_and_its_options() -> None:
    assert parsed()[1:] == (False, False)
    assert parsed(stream=False)[1:] == (False, False)
    assert parsed(stream=True)[1:] == (True, False)
    assert parsed(stream=True, stream_options={"include_usage": True})[1:] == (True, True)
    assert parsed(stream=True, stream_options={"include_usage": None, "include_obfuscation": False})[1:] == (
        True,
        False,
    )
    for stream in ({}, {"stream": False}):
        body = {"messages": ASKED, "stream_options": {"include_usage": True}, **stream}
        assert rejection(body) == (400, "invalid_value", "stream_options")
    assert rejection({"messages": ASKED, "stream": True, "stream_options": {"usage": True}})[2] == "stream_options"
    assert rejection({"messages": ASKED, "stream": "yes"})[2] == "stream"


def test_messages_become_a_history_with_neighbours_merged() -> None:
    request = parsed(
        {"role": "user", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [], "annotations": [], "audio": None},
        {"role": "user", "content": "five"},
    ).parsed.request
    assert request.messages == [
        PromptMessage("user", "one\n\ntwo\n\nthree"),
        PromptMessage("assistant", "four"),
        PromptMessage("user", "five"),
    ]
    assert request.system is None


def test_instructions_are_joined_wherever_they_stand() -> None:
    request = parsed(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two", "reasoning_content": "Hm."},
        {"role": "developer", "content": [{"type": "text", "text": "Rhyme."}]},
        {"role": "system", "content": " "},
        {"role": "user", "content": "three"},
    ).parsed.request
    assert (request.system, len(request.messages)) == ("Be brief.\n\nRhyme.", 3)


def test_instructions_are_refused_by_place_where_the_server_takes_none() -> None:
    without = SETTINGS.replace(allow_system=False)
    messages = [*ASKED, {"role": "assistant", "content": "a"}, {"role": "developer", "content": "b"}, *ASKED]
    assert rejection({"messages": messages}, without) == (403, "system_not_allowed", "messages[2]")
    assert parsed({"role": "system", "content": ""}, *ASKED, settings=without).parsed.request.system is None


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        (None, "missing_required_parameter", "messages"),
        ([], "empty_array", "messages"),
        ("Hi", "invalid_type", "messages"),
        (["Hi"], "invalid_type", "messages"),
        ([{"role": "system", "content": "a"}], "invalid_value", "messages"),
        ([{"role": "user", "content": " "}], "invalid_value", "messages"),
        ([{"role": "assistant", "content": "a"}, *ASKED], "invalid_value", "messages"),
        ([*ASKED, {"role": "assistant", "content": "a"}], "invalid_value", "messages"),
        ([{"content": "a"}], "invalid_value", "messages[0].role"),
        ([{"role": "critic", "content": "a"}], "invalid_value", "messages[0].role"),
        ([{"role": ["user"], "content": "a"}], "invalid_value", "messages[0].role"),
        ([*ASKED, {"role": "tool", "content": "a"}], "unsupported_parameter", "messages[1].role"),
        ([*ASKED, {"role": "function", "content": "a"}], "unsupported_parameter", "messages[1].role"),
        ([{"role": "user"}], "missing_required_parameter", "messages[0].content"),
        ([{"role": "user", "content": None}], "missing_required_parameter", "messages[0].content"),
        ([{"role": "assistant"}, *ASKED], "missing_required_parameter", "messages[0].content"),
        ([{"role": "user", "content": 1}], "invalid_type", "messages[0].content"),
        ([{"role": "user", "content": "a", "name": "Ann"}], "unsupported_parameter", "messages[0].name"),
        ([{"role": "user", "content": "a", "nme": "Ann"}], "unknown_parameter", "messages[0].nme"),
        ([{"role": "user", "content": "a" * 32_001}], "string_above_max_length", "messages[0].content"),
        (
            [*ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            "unsupported_parameter",
            "messages[1].tool_calls",
        ),
        (
            [*ASKED, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}],
            "unsupported_value",
            "messages[1].content[1].type",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        ([{"role": "user", "content": [{"type": "file"}]}], "unsupported_value", "messages[0].content[0].type"),
    ],
)
def test_message_that_cannot_be_taken_is_named_by_its_place(messages: Any, code: str, param: str) -> None:
    assert rejection({"messages": messages}) == (400, code, param)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 1.5),
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("top_p", 1.1),
        ("max_tokens", 0),
        ("max_tokens", 10**9),
        ("max_completion_tokens", 10**9),
        ("max_completion_tokens", True),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", [""]),
        ("stop", [1]),
        ("metadata", {"a": 1}),
        ("metadata", {str(n): "" for n in range(17)}),
        ("metadata", ["a"]),
        ("response_format", "json"),
        ("response_format", {"type": "xml"}),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a b", "schema": SCHEMA}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a"}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "no"}}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {"pattern": "a"}}}),
    ],
)
def test_value_out_of_range_is_rejected_by_name(name: str, value: Any) -> None:
    status, _, param = rejection({"messages": ASKED, name: value})
    assert (status in (400, 422), param) == (True, name)


def test_temperature_above_one_says_why() -> None:
    with pytest.raises(Problem, match="from 0 to 1, and not up to 2"):
        parsed(temperature=1.2)
    assert parsed(temperature=1).parsed.request.temperature == 1


def test_the_two_names_of_the_limit_agree_or_are_refused() -> None:
    assert parsed(max_tokens=5, max_completion_tokens=5).parsed.request.max_tokens == 5
    assert rejection({"messages": ASKED, "max_tokens": 5, "max_completion_tokens": 6})[2] == "max_tokens"


def test_formats_of_the_answer() -> None:
    assert parsed(response_format={"type": "text"}).parsed.request.schema is None
    assert parsed(response_format={"type": "json_object"}).parsed.request.schema == {"type": "object"}
    named = {"name": "n", "schema": SCHEMA, "strict": True, "description": "A letter."}
    schema = parsed(response_format={"type": "json_schema", "json_schema": named}).parsed.request.schema
    assert schema == {"description": "A letter.", **SCHEMA}


def test_single_stop_sequence_is_a_string() -> None:
    assert parsed(stop="END").parsed.request.stop_sequences == ["END"]
    assert parsed(stop="").parsed.request.stop_sequences is None


def test_unknown_model_is_404() -> None:
    assert rejection({"messages": ASKED, "model": "three"}) == (404, "model_not_found", "model")


@pytest.mark.parametrize("hostile", ["\ud800", "\x00", "{id}", "\u2028"])
def test_any_text_in_any_place_is_a_request_or_a_rejection(hostile: str) -> None:
    assert parsed({"role": "user", "content": f"a{hostile}"}).parsed.request.messages[0].content == f"a{hostile}"
    for body in (
        {hostile: 1},
        {"model": hostile},
        {"stop": [hostile]},
        {"metadata": {hostile: hostile}},
        {"response_format": {"type": hostile}},
        {"stream_options": {hostile: True}, "stream": True},
        {"messages": [{"role": hostile, "content": "a"}]},
        {"messages": [{"role": "user", "content": "a", hostile: 1}]},
        {"messages": [{"role": "user", "content": [{"type": hostile}]}]},
    ):
        try:
            parse_completion({"messages": ASKED, **body}, SETTINGS)
        except Problem as problem:
            assert problem.status in (400, 404, 422), body  # noqa: PT017


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
WORDS = st.sampled_from(["text", "type", "role", "user", "content", "json_schema", "name", "schema", "include_usage"])
ANY_JSON = st.recursive(
    LEAVES | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = sorted(HONOURED.keys() | REFUSED.keys() | WITHOUT_EFFECT.keys() | FORM)


@given(st.dictionaries(st.sampled_from(PARAMETERS), ANY_JSON, max_size=4), st.booleans())
def test_any_body_is_a_request_or_a_rejection_that_names_a_parameter(body: Json, has_messages: bool) -> None:
    named = PARAMETERS[0]
    try:
        parse_completion({**body, "messages": ASKED} if has_messages else body, SETTINGS)
    except Problem as problem:
        members: Json = problem.members
        named = str(members.get("param") or members.get("field"))
    assert named.partition("[")[0] in PARAMETERS
