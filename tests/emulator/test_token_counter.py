"""Tests of the token estimate, and of the rejection of prompts that exceed the context window."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from deploy.emulator.token_counter import count_prompt_tokens, count_tokens
from tests.emulator.harness import MODEL, anthropic_body, converse_events, emulate, user_message

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

SMALL_WINDOW_MODEL = "amazon.nova-lite-v1:0:4k"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("mill race", 2),
        ("millrace", 2),
        ("1234", 2),
        ("a-b", 3),
        ("水車", 2),
        ("дома", 2),
        ("😀", 2),
        ("a\n\nb", 3),
        ("a\n \n\n\tb", 4),
        ("\u0301\u0323\u0301", 3),
        ("abcdeabcdeabcdx ééé 1234567", 8),
    ],
)
def test_token_count_of_a_text(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_all_texts_of_messages_and_instructions_are_counted() -> None:
    message = {"role": "user", "content": [{"text": "mill"}, {"text": "race"}, {"cachePoint": {"type": "default"}}]}
    assert (
        count_prompt_tokens([message], [{"text": "Be brief."}])
        == count_prompt_tokens("mill", "race", "Be brief.")
        == 17
    )


@pytest.mark.parametrize(
    ("words", "max_tokens", "expected"),
    [
        (4100, 10, "Input is too long for requested model."),
        (3900, 200, "exceed context limit: 39"),
        (100, 4000, "exceed context limit: 1"),
    ],
)
def test_prompt_that_exceeds_the_window_is_rejected(
    bedrock: "BedrockRuntimeClient", words: int, max_tokens: int, expected: str
) -> None:
    with pytest.raises(ClientError) as caught:
        converse_events(bedrock, "mill " * words, modelId=SMALL_WINDOW_MODEL, inferenceConfig={"maxTokens": max_tokens})
    error = cast("dict[str, Any]", caught.value.response)["Error"]
    assert error["Code"] == "ValidationException"
    assert expected in error["Message"]


def test_model_with_a_larger_window_answers_the_same_prompt(bedrock: "BedrockRuntimeClient") -> None:
    response = bedrock.converse(
        modelId=MODEL, messages=cast(Any, user_message("mill " * 4100)), inferenceConfig={"maxTokens": 200}
    )
    assert 4100 < response["usage"]["inputTokens"] < 4120


def test_directive_counts_as_zero_tokens() -> None:
    assert count_prompt_tokens(emulate(text="mill " * 4100)) == 0


def test_invoke_model_has_the_same_window(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(ClientError, match="too long"):
        bedrock.invoke_model(modelId=SMALL_WINDOW_MODEL, body=anthropic_body("mill " * 4100))
