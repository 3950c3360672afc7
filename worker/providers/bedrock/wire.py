"""The events of Bedrock's streams, read from the wire at a fraction of the cost of iterating botocore's stream.

botocore's cost is not the socket: it parses a message by its service model, and urllib3 reads a chunk line by line.
"""

import json
from collections.abc import Callable, Generator
from typing import Any, cast

from botocore.eventstream import EventStreamMessage
from botocore.exceptions import EventStreamError
from botocore.parsers import ResponseParserError
from urllib3 import HTTPResponse

from millrace.worker.providers.bedrock.errors import UnreadableResponse
from millrace.worker.providers.bedrock.event_stream import Event, EventStreamDecoder, decode_delta
from millrace.worker.providers.transport.body import Body

# Errors of parsing a message, by botocore or here. botocore does not check the types that its parsers expect.
_PARSE_ERRORS = (ResponseParserError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
_ANSWER_MEMBERS = ("output", "stopReason", "usage")


def read_events(stream: Any, decode_known: Callable[[bytes], Event | None] = decode_delta) -> Generator[Event]:
    """Yield the events of a botocore EventStream, without their padding, and raise the errors of the service.

    `decode_known` decodes the operation's frequent messages.

    In contrast to botocore, a read that exceeds the client's read timeout raises TimeoutError, an event may have any
    members, and UnreadableResponse is raised for any other message that botocore cannot parse. The caller must close
    the stream in any case; after a complete read its connection is back in the pool already.
    """
    response = stream._raw_stream  # noqa: SLF001 - botocore has no public access to it; a test checks that it exists
    decoder = EventStreamDecoder(lambda message: _parse(message, stream._parse_event), decode_known)  # noqa: SLF001 - likewise
    for piece in Body(response) if isinstance(response, HTTPResponse) else response.stream():
        try:
            yield from decoder.decode(piece)
        except _PARSE_ERRORS as error:
            raise UnreadableResponse from error


def _parse(message: EventStreamMessage, parse_failure: Callable[[EventStreamMessage], Event]) -> Event:
    headers: dict[str, Any] = message.headers  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    if headers.get(":message-type") in ("exception", "error"):
        try:
            return parse_failure(message)
        except (EventStreamError, *_PARSE_ERRORS) as error:
            # botocore drops the name of an exception that its service model does not have in this stream.
            if isinstance(error, EventStreamError) and error.response.get("Error", {}).get("Code"):
                raise
            details: Any = {"Error": {"Code": headers.get(":exception-type"), "Message": ""}}
            raise EventStreamError(details, "Bedrock") from error
    # botocore's parser rejects a union without exactly one member that it knows.
    payload = json.loads(message.payload) if message.payload else {}
    if isinstance(payload, dict):
        cast("Event", payload).pop("p", None)
    kind = headers.get(":event-type")
    return {kind: payload} if isinstance(kind, str) else {}


def normalize_response(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Replace a body that botocore's parser cannot take; a handler of its event `before-parse`.

    An error keeps its texts. An answer's members become those of the parsed response, as they are.
    """
    body: Any = response_dict["body"]
    if not isinstance(body, bytes):  # a stream
        return
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = {"message": body.decode("utf-8", "replace")}
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if response_dict["status_code"] >= 300:
        response_dict["body"] = json.dumps(_texts_of(fields.get("error")) | _texts_of(fields)).encode()
    elif operation_model.name == "Converse":
        response_dict["body"] = b"{}"
        customized_response_dict.update({name: fields[name] for name in _ANSWER_MEMBERS if name in fields})


def _texts_of(value: Any) -> dict[str, str]:
    """Return an object's texts; gateways in front of Bedrock answer with an object in the member `error`."""
    members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return {name: each for name, each in members.items() if isinstance(each, str)}
