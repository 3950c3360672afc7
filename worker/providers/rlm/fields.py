"""The fields of the upstream service's requests and answers, each named by a setting. Pure.

A name may be a path: `input.message` is the field `message` of the object `input`, `choices.0.text` that of the first
entry of a list.
"""

from collections.abc import Iterable
from typing import Any, cast

from millrace.worker.contract.events import Chunk
from millrace.worker.errors import ProviderError
from millrace.worker.providers.instruction import schema_instruction
from millrace.worker.providers.members import Members, parse_object, unreadable
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.providers.transport.errors import error_fields, is_overflow, map_status, message_of
from millrace.worker.settings.provider_groups import RlmSettings

DONE = b"[DONE]"

_ERROR_EVENT = "error"
_END_EVENTS = ("done", "end", "complete")


def build_body(prompt: Prompt, settings: RlmSettings) -> Members:
    """Return the body of a question: the last message, the messages before it, the user's profile, the instructions.

    A schema is asked for in words behind the last message: the service has no field for it.
    """
    question = prompt.messages[-1].content
    if prompt.schema is not None:
        question += f"\n\n{schema_instruction(prompt.schema)}"
    history = [{"role": each.role, "content": each.content} for each in prompt.messages[:-1]]
    body: Members = {}
    for path, value in (
        (settings.message_field, question),
        (settings.history_field, history),
        (settings.profile_field, prompt.profile),
        (settings.system_field, "\n\n".join(prompt.system)),
    ):
        if path:
            *parents, name = path.split(".")
            place = body
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
    return body


def find(value: Any, path: str) -> Any:
    """Return the member at a path, None if there is none."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = cast("Members", value).get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(name)]
        else:
            return None
    return value


def parse_answer(data: bytes, path: str) -> str:
    """Return the text of a whole answer in JSON; raises ProviderError if there is none."""
    value = parse_object(data)
    text = find(value, path)
    if isinstance(text, str) and text.strip():
        return text
    if value.get("error"):
        raise map_error(value)
    raise unreadable()


def map_error(value: Any) -> ProviderError:
    """Return the error of a service that answers with the status 200 and an error in the body."""
    fields = error_fields(value)
    if is_overflow(message_of(fields)):
        return ProviderError("context_too_long", retryable=False)
    for name in ("status", "code"):
        status = fields.get(name)
        if type(status) is int and 300 <= status <= 599:
            return map_status(status)
    return ProviderError("provider_unavailable", retryable=True, is_transient=True)


def _parse(data: bytes, *, may_be_odd: bool) -> Any:
    """Return the JSON of an event: an object, or the text itself. The name of some events says enough."""
    try:
        return parse_object(b'{"":%b}' % data)[""]
    except ProviderError:
        if not may_be_odd:
            raise
        return None


class StreamMapper:
    """Maps the events or lines of one stream, in order."""

    def __init__(self, delta_fields: Iterable[str], answer_field: str) -> None:
        self.has_ended = False  # nothing follows
        self._delta_fields = tuple(delta_fields)
        self._answer_field = answer_field
        self._has_text = False
        self._marks_its_end = False

    def map(self, name: str, data: bytes) -> list[Delta]:
        """Return the deltas of an event; raises ProviderError for an error, or a member of a wrong type."""
        data = data.strip()
        if self.has_ended or not data:
            return []
        if data == DONE:
            self.has_ended = True
            return []
        value = _parse(data, may_be_odd=name in (*_END_EVENTS, _ERROR_EVENT))
        is_object = isinstance(value, dict)
        if name == _ERROR_EVENT or (is_object and value.get("error")):
            raise map_error(value)
        if is_object and "done" in value:
            self._marks_its_end = True
            self.has_ended = value["done"] is True
        self.has_ended = self.has_ended or name in _END_EVENTS
        text = "" if name in _END_EVENTS else self._find_text(value)
        if not text and not self._has_text:  # some services send the whole answer at last
            found = find(value, self._answer_field)
            text = found if isinstance(found, str) else ""
        self._has_text = self._has_text or bool(text)
        return [Chunk(text)] if text else []

    def end(self, *, is_framed: bool) -> list[Delta]:
        """Return what is left at the end of the stream, by its mark or by the end of the response.

        `is_framed`: the end of the response is no mere end of the connection. A service that marks the end of its
        streams has cut off one without a mark: it gets no `Stopped`.
        """
        if not self.has_ended and (self._marks_its_end or not is_framed):
            return []
        if not self._has_text:
            raise unreadable()
        return [Stopped("end_turn")]

    def _find_text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        is_odd = False
        for path in self._delta_fields:
            found = find(value, path)
            if isinstance(found, str):
                if found:
                    return found
            elif found is not None and not isinstance(found, dict):
                is_odd = True
        if is_odd:
            raise unreadable()
        return ""
