"""RLM as a wire: `POST /rlm`, whole or streamed as the directive's `stream` or the query's asks."""

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.call_history import CallRecord
from deploy.emulator.directive import is_directive, parse_directive
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError, invalid_request
from deploy.emulator.http_connection import Headers, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest, Json, Turn, parse_strict_json
from deploy.emulator.rlm.errors import SCRIPTED_ERRORS, encode_response
from deploy.emulator.rlm.rlm_format import RlmLinesFormat, RlmSseFormat
from deploy.emulator.token_counter import count_prompt_tokens
from deploy.emulator.wire import WireFormat

_PATH = "/rlm"
_WHOLE, _SSE, _LINES = "Rlm", "RlmSse", "RlmLines"
_OPERATIONS = {None: _WHOLE, "sse": _SSE, "ndjson": _LINES}
_CONTENT_TYPES = {_WHOLE: "application/json", _SSE: "text/event-stream", _LINES: "application/x-ndjson"}


class EmulatedRlm:
    """A private model service, which knows a message, its history and a profile, and nothing else of models."""

    unsupported = frozenset(
        {"reasoning", "reasoning_field", "redacted", "image", "search", "tool", "tools", "forced", "refusal", "blocked"}
        | {"stop_reason", "finish_reason", "usage"}
    )

    def serves(self, path: str) -> bool:
        """Return whether the path is the service's."""
        return path == _PATH

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request; its query gives other names to its fields: `?message=question`, for example."""
        if http.method != "POST":
            raise ServiceError(405, "", f"{http.method} {path} is not allowed.")
        try:
            fields = parse_strict_json(http.body)
        except ValueError as error:
            raise invalid_request(f"The body is not valid JSON: {error}") from error
        query = {name: values[0] for name, values in parse_qs(urlsplit(http.target).query).items()}
        name = query.get("message", "message")
        message = fields.get(name)
        if not isinstance(message, str) or not message.strip():
            raise ServiceError(422, "", f"The field `{name}` must be a text.")
        history = _parse_history(fields, query.get("history", "history"))
        operation = _find_operation(query, message)
        return EmulatedRequest(
            operation=operation,
            model="rlm",
            is_streamed=operation != _WHOLE,
            messages=[fields],
            turns=(*history, Turn("user", (message,))),
            system=fields.get(query.get("profile", "profile")),
            inference={"answer": query.get("answer", "answer")},
            max_tokens=None,
            input_tokens=count_prompt_tokens(fields),
        )

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the content type."""
        return [("Content-Type", _CONTENT_TYPES[call.operation if is_streamed else _WHOLE])]

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the format that the request asks for."""
        del call
        kind = RlmLinesFormat if request.operation == _LINES else RlmSseFormat
        return kind(answer, request.inference["answer"])

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error in words that such services use."""
        return SCRIPTED_ERRORS[fault]

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the error as JSON."""
        return encode_response(error)


def _find_operation(query: dict[str, str], message: str) -> str:
    asked = query.get("stream")
    if is_directive(message):
        asked = parse_directive(message).stream or asked
    if asked not in _OPERATIONS:
        raise invalid_request("`stream` must be `sse` or `ndjson`.")
    return _OPERATIONS[asked]


def _parse_history(fields: Json, name: str) -> list[Turn]:
    turns: list[Turn] = []
    value = fields.get(name) or []
    if not isinstance(value, list):
        raise ServiceError(422, "", f"The field `{name}` must be a list.")
    for each in cast("list[Any]", value):
        role, content = (each.get("role"), each.get("content")) if isinstance(each, dict) else (None, None)
        if role not in ("user", "assistant") or not isinstance(content, str):
            raise ServiceError(422, "", f"Each entry of `{name}` must have a role and a content.")
        turns.append(Turn(role, (content,)))
    return turns
