"""Ask the endpoint through boto3, the way the tests do it."""

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def scripted(**keys: Any) -> str:
    """Return the message that scripts an answer."""
    return f"/emulate {json.dumps(keys)}"


def said_by_user(text: str) -> list[dict[str, Any]]:
    """Return a conversation of one message, for Converse."""
    return [{"role": "user", "content": [{"text": text}]}]


def anthropic_body(text: str, **fields: Any) -> str:
    """Return a body for Invoke with one message."""
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 4096} | fields
    return json.dumps({"messages": [{"role": "user", "content": text}]} | body)


def converse_events(bedrock: "BedrockRuntimeClient", text: str, **fields: Any) -> list[dict[str, Any]]:
    """Return all events of a ConverseStream; raises what boto3 raises."""
    fields = {"modelId": MODEL, "messages": said_by_user(text)} | fields
    stream = bedrock.converse_stream(**fields)["stream"]
    with_close = cast(Any, stream)
    try:
        return [dict(event) for event in with_close]
    finally:
        with_close.close()


def converse_until_broken(bedrock: "BedrockRuntimeClient", text: str) -> tuple[list[dict[str, Any]], Exception | None]:
    """Return the events of a ConverseStream up to its end or error, and the error."""
    stream = cast(Any, bedrock.converse_stream(modelId=MODEL, messages=cast(Any, said_by_user(text)))["stream"])
    seen: list[dict[str, Any]] = []
    try:
        for event in stream:
            seen.append(dict(event))  # noqa: PERF401 - what came before an error is wanted too
    except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
        return seen, error
    finally:
        stream.close()
    return seen, None


def invoke_events(bedrock: "BedrockRuntimeClient", body: str) -> list[dict[str, Any]]:
    """Return Anthropic's events of an InvokeModelWithResponseStream."""
    stream = cast(Any, bedrock.invoke_model_with_response_stream(modelId=MODEL, body=body)["body"])
    try:
        return [json.loads(event["chunk"]["bytes"]) for event in stream]
    finally:
        stream.close()


def text_of(events: list[dict[str, Any]]) -> str:
    """Return the text of a ConverseStream's deltas."""
    return "".join(texts_of(events))


def texts_of(events: list[dict[str, Any]]) -> list[str]:
    """Return the text deltas of a ConverseStream."""
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return [delta["text"] for delta in deltas if "text" in delta]


def names_of(events: list[dict[str, Any]]) -> list[str]:
    """Return the events' names, in order, runs of the same name taken together."""
    names = [next(iter(event)) for event in events]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]
