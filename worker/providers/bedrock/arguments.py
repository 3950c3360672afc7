"""From a prompt to the arguments of Converse and ConverseStream: pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from itertools import groupby
from typing import Any

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.protocol import Prompt, Tool

Block = dict[str, Any]

CACHE_POINT: Block = {"cachePoint": {"type": "default"}}


def arguments_for(prompt: Prompt, *, caches: bool) -> dict[str, Any]:
    """Return the arguments; with `caches`, the model remembers what the next question begins with, too.

    Bedrock wants the roles to alternate: neighbours of one role become one message of several blocks.
    """
    inference = {
        "maxTokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "topP": prompt.top_p,
        "stopSequences": list(prompt.stop_sequences) or None,
    }
    # A small question with a tool is asked once: to remember it would cost more than it saves.
    is_remembered = caches and prompt.tool is None
    arguments: dict[str, Any] = {
        "modelId": prompt.model,
        "messages": _messages(prompt.messages, caches=is_remembered),
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
    }
    if prompt.system:
        arguments["system"] = _system(prompt.system, caches=is_remembered)
    if prompt.tool:
        arguments["toolConfig"] = _forcing(prompt.tool)
    return arguments


def _system(texts: tuple[str, ...], *, caches: bool) -> list[Block]:
    """Return the instructions; the first, the same for everybody, and all of them are each remembered."""
    blocks: list[Block] = [{"text": text} for text in texts]
    if not caches:
        return blocks
    return [blocks[0], CACHE_POINT, *([*blocks[1:], CACHE_POINT] if blocks[1:] else [])]


def _messages(messages: tuple[PromptMessage, ...], *, caches: bool) -> list[dict[str, Any]]:
    """Return the messages; all before the question is remembered, because the next question comes after it.

    What is put before the question changes with it, and is never a part of that.
    """
    grouped: list[dict[str, Any]] = [
        {"role": role, "content": [{"text": each.content} for each in group]}
        for role, group in groupby(messages, lambda each: each.role)
    ]
    asked = max((at for at, message in enumerate(grouped) if message["role"] == "user"), default=0)
    if caches and asked:
        grouped[asked - 1]["content"].append(CACHE_POINT)
    return grouped


def _forcing(tool: Tool) -> dict[str, Any]:
    specification = {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.schema}}
    return {"tools": [{"toolSpec": specification}], "toolChoice": {"tool": {"name": tool.name}}}
