"""The body of a request for every kind of prompt, and without the features that a model refuses."""

from typing import Any

import msgspec

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.gemini.arguments import THINKING_TOKENS, build_body, features_of
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import UNKNOWN_MODEL, ModelTraits

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL = Tool("name_it", "Names it.", SCHEMA)
FULL = msgspec.structs.replace(UNKNOWN_MODEL, schema=True)


def prompt_of(*contents: str, traits: ModelTraits = FULL, **fields: Any) -> Prompt:
    """Return a prompt whose messages take turns, the user first."""
    messages = tuple(PromptMessage(("user", "assistant")[at % 2], text) for at, text in enumerate(contents))  # pyright: ignore[reportArgumentType]
    return Prompt("gemini", messages, 100, traits=traits, **fields)


def body_of(prompt: Prompt, *without: str, is_stream: bool = True) -> dict[str, Any]:
    return build_body(prompt, features_of(prompt, is_stream=is_stream) - {*without}, is_stream=is_stream)  # pyright: ignore[reportOperatorIssue]


def test_a_conversation_has_the_roles_user_and_model_and_all_settings() -> None:
    prompt = prompt_of(
        "a", "b", "c", system=("Be brief.", "Rhyme."), temperature=0.0, top_p=0.5, stop_sequences=("X", "Y")
    )
    assert body_of(prompt) == {
        "contents": [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b"}]},
            {"role": "user", "parts": [{"text": "c"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Rhyme."}]},
        "generationConfig": {
            "maxOutputTokens": 100,
            "temperature": 0.0,
            "topP": 0.5,
            "stopSequences": ["X", "Y"],
            "thinkingConfig": {"includeThoughts": True},
        },
    }


def test_messages_of_one_role_are_one_message_and_empty_ones_are_left_out() -> None:
    messages = (PromptMessage("user", "a"), PromptMessage("assistant", ""), PromptMessage("user", "b"))
    assert body_of(Prompt("m", messages, 9))["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_a_tool_is_forced_and_wins_over_a_schema() -> None:
    body = body_of(prompt_of("a", tool=TOOL, schema=SCHEMA), is_stream=False)
    declaration = {"name": "name_it", "description": "Names it.", "parametersJsonSchema": SCHEMA}
    assert body["tools"] == [{"functionDeclarations": [declaration]}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["name_it"]}}
    assert body["generationConfig"] == {
        "maxOutputTokens": 100 + THINKING_TOKENS,
        "thinkingConfig": {"thinkingBudget": 0},
    }


def test_a_schema_goes_with_its_content_type() -> None:
    config = body_of(prompt_of("a", schema=SCHEMA))["generationConfig"]
    assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", SCHEMA)


def test_words_replace_each_feature_that_a_model_does_not_take() -> None:
    instructed = body_of(prompt_of("a", tool=TOOL), "forced_tool")
    assert not {"tools", "toolConfig"} & instructed.keys()
    assert instructed["contents"][-1]["parts"][-1]["text"].startswith("Names it. Reply with one JSON object")
    by_traits = body_of(prompt_of("a", schema=SCHEMA, tool=TOOL, traits=ModelTraits(1000, tools=False)))
    assert len(by_traits["contents"][-1]["parts"]) == 2
    assert "tools" not in by_traits
    for prompt, without in (
        (prompt_of("a", schema=SCHEMA), "schema"),
        (prompt_of("a", schema=SCHEMA, traits=UNKNOWN_MODEL), ""),
    ):
        body = body_of(prompt, without)
        assert body["contents"][-1]["parts"][-1]["text"].startswith("Reply with one JSON object")
        assert "responseJsonSchema" not in body["generationConfig"]
    merged = body_of(prompt_of("a", system=("Be brief.",)), "system")
    assert "systemInstruction" not in merged
    assert merged["contents"] == [{"role": "user", "parts": [{"text": "Be brief."}, {"text": "a"}]}]
    assert "thinkingConfig" not in body_of(prompt_of("a"), "thoughts")["generationConfig"]
