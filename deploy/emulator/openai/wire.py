"""OpenAI as a wire: chat completions, responses and models, also under the prefixes of other servers."""

import re
from collections.abc import Callable
from urllib.parse import unquote

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Headers, HttpRequest, Reply
from deploy.emulator.openai.chat_format import ChatCompletionFormat
from deploy.emulator.openai.errors import SCRIPTED_ERRORS, encode_response, invalid, missing_authentication
from deploy.emulator.openai.request import parse_chat, parse_responses
from deploy.emulator.openai.responses_format import ResponseFormat
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import WireFormat, json_bytes

MODELS = ("emulated-model", "emulated-reasoning-model")  # those that the list names; any other id is answered too

_PATH = re.compile(r"(/openai|/api)?/v1/(?P<resource>chat/completions|responses|models(/(?P<model>.+))?)")
_PARSERS: dict[str, Callable[[bytes], EmulatedRequest]] = {
    "chat/completions": parse_chat,
    "responses": parse_responses,
}


class EmulatedOpenAI:
    """OpenAI's API, and what servers of other vendors add to it."""

    unsupported = frozenset({"blocked", "redacted", "stream"})

    def serves(self, path: str) -> bool:
        """Return whether the path is one of OpenAI's."""
        return _PATH.fullmatch(path) is not None

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request to the model, or the list of models."""
        match = _PATH.fullmatch(path)
        assert match
        parse = _PARSERS.get(match["resource"])
        if http.method != ("POST" if parse else "GET"):
            raise invalid(f"Not allowed to {http.method} on {path}.", None, "method_not_supported", 405)
        key = http.headers.get("authorization", "").removeprefix("Bearer ") or http.headers.get("api-key")
        if not key or key == "Bearer":
            raise missing_authentication()
        return parse(http.body) if parse else _models(match["model"])

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the content type and the request id."""
        content_type = "text/event-stream; charset=utf-8" if is_streamed else "application/json"
        return [("Content-Type", content_type), ("x-request-id", f"req_{call.id.replace('-', '')}")]

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the format of the operation."""
        kind = ChatCompletionFormat if request.operation == "ChatCompletions" else ResponseFormat
        return kind(request, answer, call)

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error in the words of OpenAI, or of a server that speaks its protocol."""
        return SCRIPTED_ERRORS[fault]

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the error in OpenAI's shape."""
        return encode_response(error)


def _models(name: str | None) -> Reply:
    models = [{"id": each, "object": "model", "created": 1_700_000_000, "owned_by": "emulator"} for each in MODELS]
    body = {"object": "list", "data": models} if name is None else models[0] | {"id": unquote(name)}
    return Reply(200, [("Content-Type", "application/json")], json_bytes(body))
