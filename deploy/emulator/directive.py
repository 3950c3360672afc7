"""Parse the `/emulate {…}` by which a caller scripts an answer."""

import json
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from deploy.emulator.errors import ServiceError, invalid

PREFIX = "/emulate "
MAX_GENERATED = 64 * 1024 * 1024  # characters; more is a slip of the pen, and would take the machine down

Fault = Literal["throttle", "validation", "unavailable", "stream_error", "stall", "disconnect", "no_stop", "corrupt"]
StopReason = Literal[
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_GENERATED)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, msgspec.Meta(ge=0)]


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the metadata is to say, in Bedrock's names; what is left out is counted."""

    inputTokens: Tokens | None = None  # noqa: N815 - the wire's name
    outputTokens: Tokens | None = None  # noqa: N815
    totalTokens: Tokens | None = None  # noqa: N815
    cacheReadInputTokens: Tokens = 0  # noqa: N815
    cacheWriteInputTokens: Tokens = 0  # noqa: N815


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A toolUse block; it does not change the stop reason unless it says so itself."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")] = "look_up"
    input: dict[str, Any] | None = None
    id: str | None = None
    stop_reason: StopReason | None = None


class Directive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to answer, how fast, and what shall go wrong; null means absent. README.md tells each key's meaning."""

    text: str | None = None
    deltas: list[str] | None = None
    tokens: Count | None = None
    chars: Size | None = None
    rate: Rate = 0.0
    first_delay: Seconds = 0.0
    fault: Fault | None = None
    at: Count = 0
    times: Count | None = None
    split_surrogates: bool = False
    reasoning: bool | str = False
    tool: bool | Tool = False
    stop_reason: StopReason | None = None
    usage: Usage | None = None
    forced: "dict[str, Directive]" = {}


def is_directive(text: str) -> bool:
    """Tell whether a user's message scripts its answer."""
    return text.startswith(PREFIX)


def parse_directive(text: str) -> Directive:
    """Parse a message for which `is_directive` holds; what follows the JSON object is left alone.

    Raises ServiceError (ValidationException) that names the key which is unknown or wrong.
    """
    try:
        value, _ = _DECODER.raw_decode(text[len(PREFIX) :].lstrip())
        directive = msgspec.convert(value, Directive)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:  # ValueError: bad JSON, bad Unicode
        raise refused(str(error)) from error
    generated = (directive.tokens or 0) * (directive.chars or 1)
    if generated > MAX_GENERATED:
        raise refused(f"`tokens` times `chars` is {generated}, more than {MAX_GENERATED}")
    return directive


def refused(reason: str) -> ServiceError:
    """Return the error that tells the caller what is wrong with the directive."""
    return invalid(f"The /emulate directive was refused: {reason}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
