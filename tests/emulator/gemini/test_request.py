"""Tests of the parser of `generateContent`: which requests are rejected, and with which words."""

import json
from typing import Any

import pytest

from deploy.emulator.faults import ServiceError
from deploy.emulator.gemini.request import parse_request
from deploy.emulator.request import EmulatedRequest, ForcedTool, Turn

USER = {"role": "user", "parts": [{"text": "Hi"}]}
GOOGLE = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
TOOLS = [{"functionDeclarations": [{"name": "rate", "parameters": GOOGLE}, {"name": "look_up"}]}]
JSON = "application/json"


def parse(model: str = "m", **fields: Any) -> EmulatedRequest:
    return parse_request(model, json.dumps({"contents": [USER]} | fields).encode(), is_streamed=True)


def forcing(*names: str, mode: str = "ANY") -> dict[str, Any]:
    return {"functionCallingConfig": {"mode": mode} | ({"allowedFunctionNames": names} if names else {})}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contents": []}, "contents: contents is not specified"),
        ({"contents": "Hi"}, "Invalid value at 'contents'"),
        ({"contents": [USER | {"role": "assistant"}]}, "Please use a valid role: user, model."),
        ({"contents": [{"parts": []}]}, "contents[0].parts: contents.parts must not be empty."),
        ({"contents": [{"parts": [{"text": ""}]}]}, "contents[0].parts[0].data: required oneof field 'data'"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text'"),
        ({"messages": []}, 'Unknown name "messages": Cannot find field.'),
        ({"generationConfig": {"max_token": 1}}, "Unknown name \"maxToken\" at 'generation_config'"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "max_output_tokens must be positive"),
        ({"generationConfig": {"maxOutputTokens": "9"}}, "generation_config.max_output_tokens"),
        ({"generationConfig": {"temperature": 2.5}}, "must be in the range [0.0, 2.0]"),
        ({"generationConfig": {"stopSequences": list("abcdef")}}, "at most 5 stop sequences"),
        ({"generationConfig": {"responseSchema": GOOGLE}}, "only supported with the response mime type"),
        (
            {"generationConfig": {"responseMimeType": JSON, "responseSchema": {"type": "OBJECT", "$ref": "#"}}},
            "Unknown name \"$ref\" at 'generation_config.response_schema'",
        ),
        (
            {"tools": [{"functionDeclarations": [{"name": "x", "parameters": {"type": "OBJECT"}}]}]},
            "tools[0].function_declarations[0].parameters.properties: should be non-empty for OBJECT type",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}},
            "only one of thinking budget and thinking level",
        ),
        (
            {"generationConfig": {"responseMimeType": JSON, "responseSchema": GOOGLE, "responseJsonSchema": {}}},
            "Only one of response_schema and response_json_schema",
        ),
        ({"generationConfig": {"thinkingConfig": {"budget": 1}}}, 'Unknown name "budget"'),
        ({"generationConfig": {"responseMimeType": JSON}, "tools": TOOLS}, "Function calling with a response mime"),
        ({"tools": TOOLS, "toolConfig": forcing("other")}, "Allowed function names must be a subset"),
        ({"toolConfig": forcing()}, "requires at least one function declaration"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "Invalid function name"),
        ({"systemInstruction": {"parts": [{"text": ""}]}}, "required oneof field 'data'"),
        ({"model": "m", "contents": [{"parts": [{"text": "a " * 201_000}]}]}, "exceeds the maximum number of tokens"),
    ],
)
def test_a_bad_request_is_rejected_in_googles_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(**{name: value for name, value in fields.items() if name != "model"})
    assert message in caught.value.message
    assert (caught.value.status, caught.value.code) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"{}", b"[" * 100_000])
def test_a_body_that_is_no_request_is_rejected(body: bytes) -> None:
    with pytest.raises(ServiceError):
        parse_request("m", body, is_streamed=False)


def test_a_lone_surrogate_makes_a_body_invalid() -> None:
    with pytest.raises(ServiceError, match="JSON"):
        parse(contents=[{"parts": [{"text": "\ud800"}]}])


def test_a_request_is_parsed_in_full() -> None:
    thought = {"text": "Hm", "thought": True}
    answer = {"role": "model", "parts": [thought, {"text": "So"}, {"functionCall": {"name": "rate"}}]}
    config = {"maxOutputTokens": 9, "temperature": 0.5}
    request = parse(
        contents=[USER, answer], systemInstruction={"parts": [{"text": "Be brief."}]}, generationConfig=config
    )
    assert request.turns == (Turn("user", ("Hi",)), Turn("assistant", ("So",)))
    assert (request.question, request.prefill, request.max_tokens) == ("Hi", "So", 9)
    assert (request.operation, request.inference) == ("StreamGenerateContent", config)
    assert request.system == {"parts": [{"text": "Be brief."}]}


def test_names_in_snake_case_are_the_same_fields() -> None:
    assert parse(generation_config={"max_output_tokens": 7}).max_tokens == 7


def test_any_allowed_function_is_forced_and_a_free_choice_forces_none() -> None:
    assert parse(tools=TOOLS, toolConfig=forcing("look_up")).forced_tool == ForcedTool("look_up", {"type": "object"})
    assert parse(tools=TOOLS, toolConfig=forcing()).forced_tool == ForcedTool(
        "rate", {"type": "object", "properties": {"a": {"type": "string"}}}
    )
    for mode in ("AUTO", "NONE", "VALIDATED"):
        assert parse(tools=TOOLS, toolConfig=forcing(mode=mode)).forced_tool is None


def test_both_kinds_of_schema_are_json_schemas_in_the_end() -> None:
    fields = {"a": {"type": "ARRAY", "items": {"type": "STRING"}}}
    google = {"type": "OBJECT", "properties": fields, "propertyOrdering": ["a"]}
    wanted = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    for name, given in (("responseSchema", google), ("responseJsonSchema", wanted)):
        schema = parse(generationConfig={"responseMimeType": JSON, name: given}).schema
        assert schema == wanted | ({"propertyOrdering": ["a"]} if name == "responseSchema" else {})
    declared = [{"functionDeclarations": [{"name": "rate", "parametersJsonSchema": wanted}]}]
    assert parse(tools=declared, toolConfig=forcing()).forced_tool == ForcedTool("rate", wanted)
