"""Bedrock as a wire: its four operations by path and verb, and every path that no other wire serves."""

import re
from urllib.parse import unquote

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.bedrock.converse_format import ConverseFormat
from deploy.emulator.bedrock.errors import (
    SCRIPTED_ERRORS,
    encode_response,
    missing_authentication,
    unknown_operation,
    validation_error,
)
from deploy.emulator.bedrock.invoke_format import InvokeFormat
from deploy.emulator.bedrock.request import Operation, parse_request
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Headers, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import WireFormat

_JSON = "application/json"
_PATH = re.compile(r"/model/(?P<model>.+)/(?P<verb>converse-stream|converse|invoke-with-response-stream|invoke)")
_MODEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,2047}")
_OPERATIONS: dict[str, Operation] = {
    "converse-stream": Operation("ConverseStream", "converse", is_streamed=True),
    "converse": Operation("Converse", "converse", is_streamed=False),
    "invoke-with-response-stream": Operation("InvokeModelWithResponseStream", "invoke", is_streamed=True),
    "invoke": Operation("InvokeModel", "invoke", is_streamed=False),
}


class EmulatedBedrock:
    """Bedrock's runtime API."""

    unsupported = frozenset({"comments", "refusal", "reasoning_field", "blocked", "blocked_prompt", "stream"})

    def serves(self, path: str) -> bool:
        """Return True: what no other wire serves is AWS's unknown operation."""
        del path
        return True

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request of one of the four operations."""
        match = _PATH.fullmatch(path)
        if not match or http.method != "POST":
            raise unknown_operation(http.method, path)
        if "authorization" not in http.headers:
            raise missing_authentication()
        model = unquote(match["model"])
        if not _MODEL.fullmatch(model):
            raise validation_error("The provided model identifier is invalid.")
        return parse_request(_OPERATIONS[match["verb"]], model, http.body)

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the content type and the request id."""
        request_id = ("x-amzn-RequestId", call.id)
        if not is_streamed:
            return [("Content-Type", _JSON), request_id]
        content_type = ("Content-Type", "application/vnd.amazon.eventstream")
        return [content_type, request_id, ("x-amzn-bedrock-content-type", _JSON)]

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the format of the operation's family."""
        del call
        kind = ConverseFormat if request.operation.startswith("Converse") else InvokeFormat
        return kind(request, answer)

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error in AWS's words."""
        return SCRIPTED_ERRORS[fault]

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the error in AWS's shape."""
        return encode_response(error)
