"""Convert a prompt to the bodies of Chat Completions and Responses. Pure.

https://platform.openai.com/docs/api-reference/chat/create
https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, Literal, cast

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.instruction import schema_instruction, tool_instruction
from millrace.worker.providers.protocol import Prompt

Body = dict[str, Any]
Feature = Literal["usage", "max_completion_tokens", "max_tokens", "stop", "schema", "forced_tool"]
"""A part of a request that not every model and server takes, and without which the request is still of use.

The two names of the limit exclude each other: a request that is refused with one is made with the other.
"""

_SCHEMA_NAME = "answer"


def features_of(prompt: Prompt, *, is_stream: bool, is_chat: bool, is_openai: bool) -> set[Feature]:
    """Return the features that a request uses at first; `is_openai`: the server is OpenAI's or Azure's own."""
    features: set[Feature] = set()
    if is_chat:
        features.add("max_completion_tokens" if is_openai else "max_tokens")
        features |= {"usage"} if is_stream else set()
        features |= {"stop"} if prompt.stop_sequences else set()
    if prompt.tool and prompt.traits.tools:
        features.add("forced_tool")
    if prompt.schema is not None:
        features.add("schema")
    return features


def build_chat(prompt: Prompt, features: AbstractSet[Feature], *, is_stream: bool) -> Body:
    """Return the body of a chat completion."""
    messages = _messages(prompt, features)
    if prompt.system:  # one message, because templates of open models take no second one
        messages.insert(0, {"role": "system", "content": "\n\n".join(prompt.system)})
    body: Body = {"model": prompt.model, "messages": messages}
    body["max_completion_tokens" if "max_completion_tokens" in features else "max_tokens"] = prompt.max_tokens
    body |= _sampling(prompt)
    if "stop" in features:
        body["stop"] = list(prompt.stop_sequences)
    if is_stream:
        body["stream"] = True
    if "usage" in features:
        body["stream_options"] = {"include_usage": True}
    if prompt.tool and "forced_tool" in features:
        tool = prompt.tool
        function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = {"type": "function", "function": {"name": tool.name}}
    if prompt.schema is not None and "schema" in features:
        body["response_format"] = {"type": "json_schema", "json_schema": _format(prompt.schema)}
    return body


def build_responses(prompt: Prompt, features: AbstractSet[Feature], *, is_stream: bool) -> Body:
    """Return the body of a response. This API has no stop sequences."""
    body: Body = {
        "model": prompt.model,
        "input": _messages(prompt, features),
        "max_output_tokens": prompt.max_tokens,
        "store": False,  # by default OpenAI keeps the prompt and the answer for 30 days
    }
    if prompt.system:
        body["instructions"] = "\n\n".join(prompt.system)
    body |= _sampling(prompt)
    if is_stream:
        body["stream"] = True
    if prompt.tool and "forced_tool" in features:
        tool = prompt.tool
        function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        body["tools"] = [{"type": "function", **function, "strict": False}]
        body["tool_choice"] = {"type": "function", "name": tool.name}
    if prompt.schema is not None and "schema" in features:
        body["text"] = {"format": {"type": "json_schema", **_format(prompt.schema)}}
    return body


def _sampling(prompt: Prompt) -> Body:
    given = {"temperature": prompt.temperature, "top_p": prompt.top_p}
    return {name: value for name, value in given.items() if value is not None}


def _messages(prompt: Prompt, features: AbstractSet[Feature]) -> list[Body]:
    """Return the messages with alternating roles, which templates of open models require."""
    messages = prompt.messages
    if prompt.tool and "forced_tool" not in features:
        messages += (PromptMessage("user", tool_instruction(prompt.tool)),)
    elif prompt.schema is not None and not ("schema" in features and prompt.traits.schema):
        messages += (PromptMessage("user", schema_instruction(prompt.schema)),)
    return [
        {"role": role, "content": "\n\n".join(message.content for message in group)}
        for role, group in groupby(messages, lambda message: message.role)
    ]


def _format(schema: dict[str, Any]) -> Body:
    return {"name": _SCHEMA_NAME, "schema": schema, "strict": _is_strict(schema)}


def _is_strict(schema: Any) -> bool:
    """Return whether OpenAI can hold an answer to the schema: each object requires all its properties and no other.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += cast("list[Any]", each)
        elif isinstance(each, dict):
            members = cast("Body", each)
            properties = members.get("properties")
            if members.get("type") == "object" or isinstance(properties, dict):
                names: Any = properties if isinstance(properties, dict) else {}
                required: Any = members.get("required")
                is_listed = isinstance(required, list) and all(name in required for name in names)
                if members.get("additionalProperties") is not False or not (is_listed or not names):
                    return False
            waiting += [*members.values()]
    return True
