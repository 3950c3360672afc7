"""From Bedrock's answer to Converse to a `Whole`: pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from typing import Any

from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.mapping import failure_of_stop, usage_of
from millrace.worker.providers.protocol import Tool, WholeAnswer


def whole_of(response: dict[str, Any], tool: Tool | None) -> WholeAnswer:
    """Return the answer in one piece; raises `Failure` where it is none, or is not by the tool that was forced."""
    reason = response.get("stopReason")
    if reason is None:
        raise GenerationFailed(
            "truncated", retryable=True
        )  # botocore takes a body that is no JSON for one without members
    failure = failure_of_stop(reason)
    if failure is not None:
        raise failure
    blocks = response["output"]["message"]["content"]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    given = next((use["input"] for use in uses if tool and use["name"] == tool.name), None)
    if tool and reason == "max_tokens":
        raise GenerationFailed("truncated", retryable=True)  # an input cut in its middle comes as an empty one
    if tool and not isinstance(given, dict):
        raise GenerationFailed("provider_rejected", retryable=True)
    return WholeAnswer("".join(block.get("text", "") for block in blocks), given, usage_of(response.get("usage") or {}))
