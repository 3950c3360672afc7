"""The request to a model: parsed and checked by the web tier, kept in the state, read by the worker."""

import json
from typing import Any, Literal

import msgspec

OnDisconnect = Literal["continue", "cancel"]


class PromptMessage(msgspec.Struct, frozen=True):
    """One message of a history."""

    role: Literal["user", "assistant"]
    content: str


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model's part of a generation's request; the roles of `messages` alternate and the last is the user's."""

    messages: list[PromptMessage]
    model: str
    max_tokens: int
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    search: bool | Literal["auto"] = False
    metadata: dict[str, str] | None = None


def encode_request(request: ModelRequest) -> bytes:
    """Return the request as ASCII JSON, which can carry lone surrogates."""
    return json.dumps(msgspec.to_builtins(request), separators=(",", ":")).encode("ascii")


def decode_request(data: bytes | str) -> ModelRequest:
    """Return the request that `encode_request` encoded; raises ValueError."""
    built: Any = json.loads(data)
    return msgspec.convert(built, ModelRequest)
