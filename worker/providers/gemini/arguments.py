"""Convert a prompt to the body of `generateContent` and `streamGenerateContent`. Pure.

https://ai.google.dev/api/generate-content
"""

from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, Literal

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.instruction import schema_instruction, tool_instruction
from millrace.worker.providers.protocol import Prompt
from millrace.worker.providers.reasoning import blocks_before, has_reasoning

Body = dict[str, Any]
Feature = Literal["signatures", "thoughts", "no_thinking", "system", "schema", "forced_tool"]
"""A part of a request that not every model takes, and without which the request is still of use.

`signatures`: give back those of earlier thoughts. `thoughts`: send a summary of the reasoning. `no_thinking`: answer a
short question at once.
"""

THINKING_TOKENS = 4096
"""Added to the limit of a short answer, because a model counts the tokens that it thinks towards the limit."""

_ROLES = {"user": "user", "assistant": "model"}


def features_of(prompt: Prompt, *, is_stream: bool) -> set[Feature]:
    """Return the features that a request uses at first."""
    features: set[Feature] = {"thoughts" if is_stream else "no_thinking"}
    if prompt.system:
        features.add("system")
    if is_stream and has_reasoning(prompt):
        features.add("signatures")
    if prompt.tool:
        features |= {"forced_tool"} if prompt.traits.tools else set()
    elif prompt.schema is not None and prompt.traits.schema:
        features.add("schema")
    return features


def build_body(prompt: Prompt, features: AbstractSet[Feature], *, is_stream: bool) -> Body:
    """Return the body of a request that uses these features; words in the last message replace the others."""
    body: Body = {"contents": _contents(prompt, features), "generationConfig": _config(prompt, features, is_stream)}
    if "system" in features:
        body["systemInstruction"] = {"parts": [{"text": text} for text in prompt.system]}
    if prompt.tool and "forced_tool" in features:
        tool = prompt.tool
        declaration = {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.schema}
        body["tools"] = [{"functionDeclarations": [declaration]}]
        body["toolConfig"] = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [tool.name]}}
    return body


def _config(prompt: Prompt, features: AbstractSet[Feature], is_stream: bool) -> Body:
    config: Body = {
        "maxOutputTokens": prompt.max_tokens + (0 if is_stream else THINKING_TOKENS),
        "temperature": prompt.temperature,
        "topP": prompt.top_p,
        "stopSequences": list(prompt.stop_sequences) or None,
    }
    if "thoughts" in features:
        config["thinkingConfig"] = {"includeThoughts": True}
    elif "no_thinking" in features:
        config["thinkingConfig"] = {"thinkingBudget": 0}
    if "schema" in features:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": prompt.schema}
    return {name: value for name, value in config.items() if value is not None}


def _contents(prompt: Prompt, features: AbstractSet[Feature]) -> list[Body]:
    """Return the messages with alternating roles; an empty text would be rejected."""
    is_signed = "signatures" in features and "thoughts" in features  # a model without thoughts takes no signatures
    messages = [(_ROLES[each.role], _part(each, is_signed=is_signed)) for each in prompt.messages if each.content]
    if "system" not in features:
        messages = [*(("user", {"text": text}) for text in prompt.system), *messages]
    if prompt.tool and "forced_tool" not in features:
        messages.append(("user", {"text": tool_instruction(prompt.tool)}))
    elif prompt.schema is not None and not prompt.tool and "schema" not in features:
        messages.append(("user", {"text": schema_instruction(prompt.schema)}))
    return [
        {"role": role, "parts": [part for _, part in group]}
        for role, group in groupby(messages, lambda message: message[0])
    ]


def _part(message: PromptMessage, *, is_signed: bool) -> Body:
    """Return a message's text with the signature of the thoughts before it: of several, the last one covers all."""
    signatures = blocks_before([message]) if is_signed else []
    return {"text": message.content} | (signatures[-1] if signatures else {})
