"""From the events of a stream to its deltas, and from the deltas of a whole message to an answer.

A stop reason makes an answer whole. Only details follow it: the wait for them is short, and a failure there is
without effect.
"""

import json
from collections.abc import Generator, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

import gevent

from millrace.worker.contract.events import Chunk, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.forms import Form
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.members import Members, checked, object_of, unreadable
from millrace.worker.providers.protocol import Delta, Prompt, Stopped, WholeAnswer
from millrace.worker.providers.stop_reason import StopReason, failure_of
from millrace.worker.text.lines import parse_json

REST_SECONDS = 5.0  # for the events behind the stop reason
_END_SECONDS = 0.1  # for the end of the response behind the last event, so that its connection can be reused
_END_EVENTS = 8

Event = tuple[str, bytes]
"""An event's name on the wire, empty if it has none, and its JSON."""


def read_deltas(
    events: Generator[Event], mapper: MessageMapper, errors: tuple[type[Exception], ...]
) -> Generator[Delta]:
    """Yield the deltas of a stream; `errors` are those of the connection, which change nothing behind a stop reason."""
    for name, data in events:
        yield from mapper.map(name, data)
        if mapper.has_finished:
            break
    rest: list[Delta] = []
    with suppress(ProviderError, *errors), gevent.Timeout(REST_SECONDS, False):  # pyright: ignore[reportArgumentType] - False: quietly
        while not mapper.has_ended and (event := next(events, None)) is not None:
            rest += mapper.map(*event)
    yield from rest
    yield from mapper.end()
    with suppress(ProviderError, *errors), gevent.Timeout(_END_SECONDS, False):  # pyright: ignore[reportArgumentType] - likewise
        for _ in islice(events, _END_EVENTS):
            continue


def parse_message(data: bytes) -> Members:
    """Return the object of a whole response; raises ProviderError (`truncated`) for one that is no JSON."""
    try:
        return object_of(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ProviderError("truncated", retryable=True) from error


def to_whole_answer(deltas: Iterable[Delta], prompt: Prompt, form: Form) -> WholeAnswer:
    """Return the answer of a whole message; raises ProviderError if it is cut off, refused, or has no tool's input."""
    found = list(deltas)
    reason: StopReason | None = next((delta.reason for delta in found if isinstance(delta, Stopped)), None)
    if reason is None or (prompt.tool and reason == "max_tokens"):
        raise ProviderError("truncated", retryable=True)
    failure = failure_of(reason)
    if failure is not None:
        raise failure
    text = "".join(delta.content for delta in found if isinstance(delta, Chunk))
    usage = next((delta for delta in found if isinstance(delta, Usage)), Usage(exact=False))
    if not prompt.tool:
        return WholeAnswer(text, None, usage)
    uses = [delta.input for delta in found if isinstance(delta, ToolUse) and delta.name == prompt.tool.name]
    written = parse_json(text[text.find("{") : text.rfind("}") + 1]) if form.structure != "tool" else None
    tool_input: Any = next(iter(uses), written)
    if not isinstance(tool_input, dict):
        raise unreadable()
    return WholeAnswer(text, object_of(checked(tool_input)), usage)
