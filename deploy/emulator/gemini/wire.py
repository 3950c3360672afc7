"""Gemini as a wire: `POST /v1beta/models/NAME:streamGenerateContent?alt=sse` and `:generateContent`; also as v1."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.gemini.errors import SCRIPTED_ERRORS, encode_response, invalid_argument, missing_key
from deploy.emulator.gemini.generate_format import GenerateFormat
from deploy.emulator.gemini.request import parse_request
from deploy.emulator.http_connection import Headers, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import WireFormat

_ROOT = "/v1beta/"
_PATH = re.compile(r"/v1(beta)?/models/(?P<model>[^/:]+(:\d{1,4}k)?):(?P<verb>streamGenerateContent|generateContent)")


class EmulatedGemini:
    """Google's Gemini API, with an API key."""

    unsupported = frozenset({"reasoning_field", "refusal", "blocked_prompt", "redacted", "stream"})

    def serves(self, path: str) -> bool:
        """Return whether the path is below v1beta, or is an operation of v1; other paths of v1 are OpenAI's."""
        return path.startswith(_ROOT) or _PATH.fullmatch(unquote(path)) is not None

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request to the model."""
        match = _PATH.fullmatch(unquote(path))
        if not match or http.method != "POST":
            raise ServiceError(404, "NOT_FOUND", f"{http.method} {path} is not found for API version v1beta.")
        query = parse_qs(urlsplit(http.target).query)
        if not http.headers.get("x-goog-api-key") and not query.get("key"):
            raise missing_key()
        is_streamed = match["verb"] == "streamGenerateContent"
        if is_streamed and query.get("alt") != ["sse"]:
            raise invalid_argument("This endpoint streams server-sent events only: add ?alt=sse to the path.")
        return parse_request(match["model"], http.body, is_streamed=is_streamed)

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the content type."""
        del call
        content_type = "text/event-stream" if is_streamed else "application/json; charset=UTF-8"
        return [("Content-Type", content_type), ("Vary", "Origin"), ("Vary", "X-Origin")]

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the format of the responses."""
        del call
        return GenerateFormat(request, answer)

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error in Google's words."""
        return SCRIPTED_ERRORS[fault]

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the error in Google's shape."""
        return encode_response(error)
