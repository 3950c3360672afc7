"""Convert a prompt to the body of a request for a message. Pure.

https://docs.claude.com/en/api/messages
https://docs.claude.com/en/docs/build-with-claude/prompt-caching
https://docs.claude.com/en/docs/build-with-claude/structured-outputs
"""

from itertools import groupby
from typing import Any

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.anthropic.forms import ANSWER_TOOL, Form
from millrace.worker.providers.instruction import schema_instruction, tool_instruction
from millrace.worker.providers.output_schema import to_output_schema
from millrace.worker.providers.protocol import Prompt
from millrace.worker.providers.reasoning import blocks_before, drop_reasoning

Body = dict[str, Any]

CACHE_CONTROL: Body = {"type": "ephemeral"}


def build_body(prompt: Prompt, form: Form) -> Body:
    """Return the body without the model and the version, which each service takes in a place of its own."""
    messages = prompt.messages
    if form.structure == "tool":  # a model that is forced to use a tool does not think
        messages = drop_reasoning(prompt).messages
    if form.structure == "instruction":
        words = tool_instruction(prompt.tool) if prompt.tool else schema_instruction(prompt.schema or {})
        messages += (PromptMessage("user", words),)
    body: Body = {"max_tokens": prompt.max_tokens, "messages": _messages(messages, is_cached=form.is_cached)}
    if prompt.system:
        body["system"] = _system(prompt.system, is_cached=form.is_cached)
    body |= _sampling(prompt)
    stop_sequences = [each for each in prompt.stop_sequences if each.strip()]  # the API refuses a blank one
    if stop_sequences:
        body["stop_sequences"] = stop_sequences
    schema = prompt.tool.schema if prompt.tool else prompt.schema
    if form.structure == "tool" and schema is not None:
        tool = prompt.tool or ANSWER_TOOL
        body["tools"] = [{"name": tool.name, "description": tool.description, "input_schema": schema}]
        body["tool_choice"] = {"type": "tool", "name": tool.name}
    elif form.structure == "format" and schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": to_output_schema(schema)}}
    return body


def _sampling(prompt: Prompt) -> Body:
    """Return the sampling parameters that the model takes: both, `temperature` before `top_p`, or none."""
    given = {"temperature": prompt.temperature, "top_p": prompt.top_p}
    found = [(name, value) for name, value in given.items() if value is not None]
    allowed = {"both": 2, "one": 1, "none": 0}[prompt.traits.sampling]
    return dict(found[:allowed])


def _system(texts: tuple[str, ...], *, is_cached: bool) -> list[Body]:
    """Return the instructions; the first, which all users share, and the last end a part for the cache."""
    blocks: list[Body] = [{"type": "text", "text": text} for text in texts]
    if is_cached:
        for block in (blocks[0], blocks[-1]):
            block["cache_control"] = CACHE_CONTROL
    return blocks


def _messages(messages: tuple[PromptMessage, ...], *, is_cached: bool) -> list[Body]:
    """Return the messages, one for each run of a role, and let the cache end before the question."""
    grouped = [_message(role, [*group]) for role, group in groupby(messages, lambda message: message.role)]
    question = max((at for at, message in enumerate(grouped) if message["role"] == "user"), default=0)
    if is_cached and question:
        grouped[question - 1]["content"][-1]["cache_control"] = CACHE_CONTROL
    return grouped


def _message(role: str, messages: list[PromptMessage]) -> Body:
    texts: list[Body] = [{"type": "text", "text": message.content} for message in messages]
    return {"role": role, "content": [*blocks_before(messages), *texts]}
