"""Each member of Bedrock's answers in botocore's model is mapped, passed on as it is, or left out for a reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.session import get_session

from millrace.worker.providers.bedrock import mapping

MODEL: Any = get_session().get_service_model("bedrock-runtime")

# Only as members of a shape that is passed on as it is may others lie below these.
AS_IT_IS = {
    *("ConverseStreamTrace", "ConverseTrace"),  # a guardrail's: an outcome's details
    *("CitationLocation", "CitationSourceContentDelta", "ToolResultBlockDelta", "CacheDetail"),
    *("InternalServerException", "ModelStreamErrorException", "ServiceUnavailableException", "ThrottlingException"),
    "ValidationException",  # the type is mapped, see `errors.py`
}

MAPPED: dict[str, set[str]] = {
    "ConverseStreamOutput": {
        *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"),
        *("internalServerException", "modelStreamErrorException", "validationException", "throttlingException"),
        "serviceUnavailableException",
    },
    "MessageStartEvent": set(),
    "ContentBlockStartEvent": {"start", "contentBlockIndex"},
    "ContentBlockStart": {"toolUse", "toolResult", "image"},
    "ToolUseBlockStart": {"toolUseId", "name"},
    "ToolResultBlockStart": {"toolUseId", "status"},
    "ImageBlockStart": set(),
    "ContentBlockDeltaEvent": {"delta", "contentBlockIndex"},
    "ContentBlockDelta": {"text", "toolUse", "toolResult", "reasoningContent", "citation", "image"},
    "ToolUseBlockDelta": {"input"},
    "ReasoningContentBlockDelta": {"text", "redactedContent", "signature"},
    "CitationsDelta": {"title", "source", "sourceContent", "location"},
    "ImageBlockDelta": {"source", "error"},
    "ImageSource": {"bytes"},
    "ErrorBlock": set(),
    "ContentBlockStopEvent": {"contentBlockIndex"},
    "MessageStopEvent": {"stopReason", "additionalModelResponseFields"},
    "ConverseStreamMetadataEvent": {"usage", "metrics", "trace", "performanceConfig", "serviceTier"},
    "TokenUsage": {"inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheDetails"},
    "ConverseStreamMetrics": {"latencyMs"},
    "PerformanceConfiguration": {"latency"},
    "ServiceTier": {"type"},
    "ConverseResponse": {"output", "stopReason", "usage"},
    "ConverseOutput": {"message"},
    "Message": {"content"},
    "ContentBlock": {"text", "toolUse", "citationsContent"},
    "ToolUseBlock": {"name", "input"},
    "CitationsContentBlock": {"content"},
    "CitationGeneratedContent": {"text"},
}

_ONLY_TEXT = "an answer in one piece is a short one, or that of a model that does not stream: text or a tool's input"
LEFT_OUT: dict[str, dict[str, str]] = {
    "MessageStartEvent": {"role": "it is always the assistant's"},
    "ToolUseBlockStart": {"type": "a use of a tool that runs at Bedrock is relayed as any other"},
    "ToolResultBlockStart": {"type": "likewise its result"},
    "ImageBlockStart": {"format": "the bytes tell it"},
    "ImageSource": {"s3Location": "nobody but the account's owner can read it"},
    "ErrorBlock": {"message": "it may quote the prompt"},
    "TokenUsage": {"totalTokens": "the sum of the others"},
    "ConverseResponse": dict.fromkeys(
        ("metrics", "additionalModelResponseFields", "trace", "performanceConfig", "serviceTier"), _ONLY_TEXT
    ),
    "Message": {"role": "it is always the assistant's"},
    "ContentBlock": dict.fromkeys(
        (
            *("image", "document", "video", "audio", "toolResult", "guardContent", "cachePoint", "reasoningContent"),
            *("searchResult", "toolAddition", "toolRemoval"),
        ),
        _ONLY_TEXT,
    ),
    "ToolUseBlock": {"toolUseId": "the tool is not called", "type": "likewise"},
    "CitationsContentBlock": {"citations": _ONLY_TEXT},
}


def shapes(shape: Any, seen: set[str]) -> Iterator[Any]:
    """Yield each structure below a shape, once; nothing below what is passed on as it is, or left out."""
    if shape.name in seen or shape.name in AS_IT_IS:
        return
    if shape.type_name == "list":
        yield from shapes(shape.member, seen)
    elif shape.type_name == "structure" and shape.members:
        seen.add(shape.name)
        yield shape
        for name, member in shape.members.items():
            if name not in LEFT_OUT.get(shape.name, {}):
                yield from shapes(member, seen)


def test_each_member_of_an_answer_is_mapped_passed_on_or_left_out_for_a_reason() -> None:
    seen: set[str] = set()
    outputs = (MODEL.shape_for("ConverseStreamOutput"), MODEL.operation_model("Converse").output_shape)
    found = {each.name: {*each.members} for output in outputs for each in shapes(output, seen)}
    assert found == {name: mapped | LEFT_OUT.get(name, {}).keys() for name, mapped in MAPPED.items()}
    assert all(not mapped & LEFT_OUT.get(name, {}).keys() for name, mapped in MAPPED.items())


def test_each_mapped_member_is_read_by_the_mapping() -> None:
    source = Path(mapping.__file__).read_text("utf-8")
    names = {name for mapped in MAPPED.values() for name in mapped if not name.endswith("Exception")}
    assert [name for name in names if f'"{name}"' not in source] == []
