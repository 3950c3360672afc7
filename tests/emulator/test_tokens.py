"""Tokens are counted, and a prompt that is longer than the model's window is refused in Bedrock's words."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from deploy.emulator.tokens import count, count_all
from tests.emulator.asking import MODEL, anthropic_body, converse_events, said_by_user, scripted

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

SMALL = "amazon.nova-lite-v1:0:4k"


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
    ],
)
def test_a_text_is_counted_by_its_characters(text: str, tokens: int) -> None:
    assert count(text) == tokens


def test_everything_that_a_model_reads_is_counted() -> None:
    message = {"role": "user", "content": [{"text": "mill"}, {"text": "race"}, {"cachePoint": {"type": "default"}}]}
    assert count_all([message], [{"text": "Be brief."}]) == count_all("mill", "race", "Be brief.") == 17


@pytest.mark.parametrize(
    ("words", "max_tokens", "said"),
    [
        (4100, 10, "Input is too long for requested model."),
        (3900, 200, "exceed context limit: 39"),
        (100, 4000, "exceed context limit: 1"),
    ],
)
def test_what_is_longer_than_the_window_is_refused(
    bedrock: "BedrockRuntimeClient", words: int, max_tokens: int, said: str
) -> None:
    with pytest.raises(ClientError) as caught:
        converse_events(bedrock, "mill " * words, modelId=SMALL, inferenceConfig={"maxTokens": max_tokens})
    error = cast("dict[str, Any]", caught.value.response)["Error"]
    assert error["Code"] == "ValidationException"
    assert said in error["Message"]


def test_the_same_is_answered_by_a_model_with_a_larger_window(bedrock: "BedrockRuntimeClient") -> None:
    answered = bedrock.converse(
        modelId=MODEL, messages=cast(Any, said_by_user("mill " * 4100)), inferenceConfig={"maxTokens": 200}
    )
    assert 4100 < answered["usage"]["inputTokens"] < 4120


def test_a_text_that_scripts_an_answer_counts_nothing() -> None:
    assert count_all(scripted(text="mill " * 4100)) == 0


def test_anthropics_own_format_has_the_same_window(bedrock: "BedrockRuntimeClient") -> None:
    with pytest.raises(ClientError, match="too long"):
        bedrock.invoke_model(modelId=SMALL, body=anthropic_body("mill " * 4100))
