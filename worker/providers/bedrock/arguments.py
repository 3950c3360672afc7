"""Convert a prompt to the arguments of Converse and ConverseStream. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

import json
from base64 import b64decode
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.instruction import schema_instruction, tool_instruction
from millrace.worker.providers.output_schema import to_output_schema
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.providers.reasoning import blocks_before

Block = dict[str, Any]

Feature = Literal["cache_points", "forced_tool", "answer_tool", "output_format"]
"""The features that not every model has; a request uses at most one.

`forced_tool`: the model has to use the prompt's tool. `answer_tool`: it has to use a tool whose input is the answer,
for a prompt with a schema. `output_format`: Bedrock itself holds the answer to the schema.
"""

ANSWER_TOOL = Tool("answer", "Gives the answer. Use it for the whole answer.", {})
CACHE_POINT: Block = {"cachePoint": {"type": "default"}}


def build_arguments(prompt: Prompt, feature: Feature | None = None) -> dict[str, Any]:
    """Return the arguments with a feature that not every model has, or without any.

    Without the feature for its tool or its schema, the model is instructed in words. Bedrock requires alternating
    roles, so consecutive messages of one role become one message of several blocks.
    """
    traits = prompt.traits
    inference = {
        "maxTokens": prompt.max_tokens,
        "temperature": prompt.temperature if traits.sampling != "none" else None,
        "topP": prompt.top_p if traits.sampling == "both" or prompt.temperature is None else None,
        "stopSequences": [each for each in prompt.stop_sequences if traits.blank_stop_sequences or each.strip()]
        or None,
    }
    is_cached = feature == "cache_points"
    arguments: dict[str, Any] = {
        "modelId": prompt.model,
        "messages": _messages(prompt.messages, is_cached=is_cached),
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
    }
    if prompt.system:
        arguments["system"] = _system(prompt.system, is_cached=is_cached)
    if prompt.metadata:
        arguments["requestMetadata"] = dict(prompt.metadata)
    last = arguments["messages"][-1]["content"]
    if prompt.tool and feature == "forced_tool":
        arguments["toolConfig"] = _tool_config(prompt.tool)
    elif prompt.tool:
        last.append({"text": tool_instruction(prompt.tool)})
    elif prompt.schema is not None and feature == "answer_tool":
        arguments["toolConfig"] = _tool_config(replace(ANSWER_TOOL, schema=prompt.schema))
    elif prompt.schema is not None and feature == "output_format":
        arguments["outputConfig"] = _output_config(to_output_schema(prompt.schema) or prompt.schema)
    elif prompt.schema is not None:
        last.append({"text": schema_instruction(prompt.schema)})
    return arguments


def feature_of(prompt: Prompt, *, is_caching: bool) -> Feature | None:
    """Return the feature that suits the prompt, None if it needs none."""
    traits = prompt.traits
    if prompt.tool:  # a short question with a tool is not worth a place in the cache
        return "forced_tool"
    if prompt.schema is not None and traits.schema and to_output_schema(prompt.schema):
        return "output_format"
    if prompt.schema is not None and traits.tools and prompt.schema.get("type") == "object":
        return "answer_tool"
    if prompt.schema is None and is_caching and traits.caching and has_cache_point(prompt):
        return "cache_points"
    return None


def has_cache_point(prompt: Prompt) -> bool:
    """Return whether the arguments have a cache point if they are built with `is_cached`."""
    return prompt.tool is None and (bool(prompt.system) or len(prompt.messages) > 1)


def _system(texts: tuple[str, ...], *, is_cached: bool) -> list[Block]:
    """Return the instructions, with a cache point after the first, which all users share, and one after the last."""
    blocks: list[Block] = [{"text": text} for text in texts]
    if not is_cached:
        return blocks
    return [blocks[0], CACHE_POINT, *([*blocks[1:], CACHE_POINT] if blocks[1:] else [])]


def _messages(messages: tuple[PromptMessage, ...], *, is_cached: bool) -> list[dict[str, Any]]:
    """Return the messages, with a cache point before the question, because the next question begins with the same ones.

    Material stands after the cache point: it changes with every question.
    """
    grouped = [_message(role, [*group]) for role, group in groupby(messages, lambda message: message.role)]
    question = max((at for at, message in enumerate(grouped) if message["role"] == "user"), default=0)
    if is_cached and question:
        grouped[question - 1]["content"].append(CACHE_POINT)
    return grouped


def _message(role: str, messages: list[PromptMessage]) -> dict[str, Any]:
    reasoning = [{"reasoningContent": _reasoning(block)} for block in blocks_before(messages)]
    return {"role": role, "content": [*reasoning, *({"text": message.content} for message in messages)]}


def _reasoning(block: Block) -> Block:
    """Return a stored block as boto3 takes it: it puts encrypted content into base64 itself."""
    redacted = block.get("redactedContent")
    return block if redacted is None else {"redactedContent": b64decode(redacted)}


def _tool_config(tool: Tool) -> dict[str, Any]:
    specification = {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.schema}}
    return {"tools": [{"toolSpec": specification}], "toolChoice": {"tool": {"name": tool.name}}}


def _output_config(schema: dict[str, Any]) -> dict[str, Any]:
    structure = {"jsonSchema": {"name": ANSWER_TOOL.name, "schema": json.dumps(schema)}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}
