"""Convert a prompt to the arguments of Converse and ConverseStream. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from itertools import groupby
from typing import Any

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.instruction import tool_instruction
from millrace.worker.providers.protocol import Prompt, Tool

Block = dict[str, Any]

CACHE_POINT: Block = {"cachePoint": {"type": "default"}}


def build_arguments(prompt: Prompt, *, is_cached: bool, is_tool_forced: bool = True) -> dict[str, Any]:
    """Return the arguments; with `is_cached` they mark the beginning that the next question shares, for the cache.

    Without `is_tool_forced` the model is instructed to write the input of the prompt's tool, instead of forced to use
    it. Bedrock requires alternating roles, so consecutive messages of one role become one message of several blocks.
    """
    inference = {
        "maxTokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "topP": prompt.top_p,
        "stopSequences": list(prompt.stop_sequences) or None,
    }
    # A short question with a tool is asked once: writing it to the cache would cost more than it saves.
    is_cached = is_cached and prompt.tool is None
    arguments: dict[str, Any] = {
        "modelId": prompt.model,
        "messages": _messages(prompt.messages, is_cached=is_cached),
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
    }
    if prompt.system:
        arguments["system"] = _system(prompt.system, is_cached=is_cached)
    if prompt.tool and is_tool_forced:
        arguments["toolConfig"] = _tool_config(prompt.tool)
    elif prompt.tool:
        arguments["messages"][-1]["content"].append({"text": tool_instruction(prompt.tool)})
    return arguments


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
    grouped: list[dict[str, Any]] = [
        {"role": role, "content": [{"text": message.content} for message in group]}
        for role, group in groupby(messages, lambda message: message.role)
    ]
    question = max((at for at, message in enumerate(grouped) if message["role"] == "user"), default=0)
    if is_cached and question:
        grouped[question - 1]["content"].append(CACHE_POINT)
    return grouped


def _tool_config(tool: Tool) -> dict[str, Any]:
    specification = {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.schema}}
    return {"tools": [{"toolSpec": specification}], "toolChoice": {"tool": {"name": tool.name}}}
