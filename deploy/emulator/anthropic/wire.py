"""Anthropic as a wire: `POST /v1/messages`."""

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.anthropic.errors import SCRIPTED_ERRORS, encode_response
from deploy.emulator.anthropic.messages_format import MessagesFormat
from deploy.emulator.anthropic.request import missing_header, parse_request
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Headers, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import WireFormat

_PATH = "/v1/messages"


class EmulatedAnthropic:
    """Anthropic's Messages API."""

    unsupported = frozenset({"reasoning_field", "blocked", "image", "stream"})

    def serves(self, path: str) -> bool:
        """Return whether the path is that of the messages, or below it."""
        return path == _PATH or path.startswith(f"{_PATH}/")

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request to the model."""
        if path != _PATH:
            raise ServiceError(404, "not_found_error", "Not found")
        if http.method != "POST":
            raise ServiceError(405, "invalid_request_error", "Method Not Allowed")
        if "x-api-key" not in http.headers and "authorization" not in http.headers:
            raise missing_header("x-api-key")
        if "anthropic-version" not in http.headers:
            raise missing_header("anthropic-version")
        return parse_request(http.body)

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the content type and the request id."""
        content_type = "text/event-stream; charset=utf-8" if is_streamed else "application/json"
        return [("Content-Type", content_type), ("Cache-Control", "no-cache"), ("request-id", call.id)]

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the format of the messages."""
        return MessagesFormat(request, answer, call)

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error in Anthropic's words."""
        return SCRIPTED_ERRORS[fault]

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the error in Anthropic's shape."""
        return encode_response(error)
