"""From the deltas of an answer that came in one piece to the answer. Pure."""

from collections.abc import Iterable

from millrace.worker.contract.events import Chunk, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.members import Members, checked, object_of, unreadable
from millrace.worker.providers.protocol import Delta, Stopped, Tool, WholeAnswer
from millrace.worker.providers.stop_reason import failure_of
from millrace.worker.text.lines import parse_json


def to_whole_answer(deltas: Iterable[Delta], tool: Tool | None, *, is_instructed: bool = True) -> WholeAnswer:
    """Return the answer; raises ProviderError, with the usage, if it is cut off, refused, or has no input of the tool.

    If the model does not use the tool, and may have been instructed in words instead, its text holds the input as JSON.
    """
    found = list(deltas)
    usage = next((delta for delta in found if isinstance(delta, Usage)), None)
    try:
        return _read(found, usage, tool, is_instructed=is_instructed)
    except ProviderError as failure:  # a call whose answer is of no use is paid for
        failure.usage = usage
        raise


def _read(found: list[Delta], usage: Usage | None, tool: Tool | None, *, is_instructed: bool) -> WholeAnswer:
    reason = next((delta.reason for delta in found if isinstance(delta, Stopped)), None)
    if reason is None or (tool and reason == "max_tokens"):
        raise ProviderError("truncated", retryable=True)
    failure = failure_of(reason)
    if failure is not None:
        raise failure
    text = "".join(delta.content for delta in found if isinstance(delta, Chunk))
    tool_input = _tool_input(tool.name, found, text, is_instructed=is_instructed) if tool else None
    return WholeAnswer(text, tool_input, usage or Usage(exact=False), reason)


def _tool_input(name: str, deltas: list[Delta], text: str, *, is_instructed: bool) -> Members:
    used = next((delta.input for delta in deltas if isinstance(delta, ToolUse) and delta.name == name), None)
    if used is None and is_instructed:
        used = parse_json(text[text.find("{") : text.rfind("}") + 1])
    if not isinstance(used, dict):
        raise unreadable()
    return object_of(checked(used))
