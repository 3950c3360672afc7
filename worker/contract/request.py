"""The request to a model: parsed and checked by the web tier, kept in the state, read by the worker."""

import json
from typing import Any, Literal

import msgspec

OnDisconnect = Literal["continue", "cancel"]
OnMidstreamFailure = Literal["error", "continue"]


class ReasoningState(msgspec.Struct, frozen=True):
    """A provider's own form of the reasoning before an answer, to be given back to the same model as it was.

    `is_requested` means that the request of that answer has asked for reasoning, so that the next one must ask as well.
    """

    provider: str
    model: str
    blocks: list[dict[str, Any]]
    is_requested: bool = False


class PromptMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a history; of an answer of ours, perhaps with the reasoning before it."""

    role: Literal["user", "assistant"]
    content: str
    reasoning: ReasoningState | None = None


def without_reasoning(message: PromptMessage) -> PromptMessage:
    """Return the message without the reasoning before it."""
    return message if message.reasoning is None else msgspec.structs.replace(message, reasoning=None)


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model's part of a generation's request; the roles of `messages` alternate and the last is the user's.

    `opens_conversation`: nothing is stored of its conversation yet, so there is no history to read. With a `schema`, a
    JSON schema, the answer is to be JSON that fits. `echo` holds fields of a request in another protocol, for its
    answers; nothing else reads them.
    """

    messages: list[PromptMessage]
    model: str
    max_tokens: int
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    search: bool | Literal["auto"] = False
    metadata: dict[str, str] | None = None
    on_midstream_failure: OnMidstreamFailure = "error"
    schema: dict[str, Any] | None = None
    echo: dict[str, Any] | None = None
    opens_conversation: bool = False


class RequestSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a request that stays in the state once the answer is stored and the request has left Redis."""

    model: str
    metadata: dict[str, str] | None = None
    echo: dict[str, Any] | None = None


def encode_request(request: ModelRequest) -> bytes:
    """Return the request as JSON in UTF-8, lone surrogates included; escapes would triple the size of an emoji."""
    return _encode(request)


def decode_request(data: bytes | str) -> ModelRequest:
    """Return the request that `encode_request` encoded; raises ValueError."""
    return msgspec.convert(_parse(data), ModelRequest)


def encode_summary(request: ModelRequest) -> bytes:
    """Return the summary of a request as JSON."""
    return _encode(RequestSummary(request.model, request.metadata, request.echo))


def decode_summary(data: bytes | str) -> RequestSummary:
    """Return the summary that `encode_summary` encoded; raises ValueError."""
    return msgspec.convert(_parse(data), RequestSummary)


def _encode(value: msgspec.Struct) -> bytes:
    text = json.dumps(msgspec.to_builtins(value), separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _parse(data: bytes | str) -> Any:
    return json.loads(data if isinstance(data, str) else data.decode("utf-8", "surrogatepass"))
