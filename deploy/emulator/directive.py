"""The `/emulate {…}` directive, by which a caller scripts an answer."""

import json
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from deploy.emulator.faults import Fault, HeaderValue, ScriptedError, ServiceError, invalid_request

PREFIX = "/emulate "
MAX_GENERATED = 64 * 1024 * 1024  # characters; more is a typing error, and would exhaust the memory

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
Comments = Annotated[int, msgspec.Meta(ge=0, le=1000)]
ReasoningField = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}$")]
EventName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
RawEvent = Annotated[dict[EventName, Any], msgspec.Meta(min_length=1, max_length=1)]


class ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Token counts of the answer, under Bedrock's names and in its sense; omitted ones are counted."""

    inputTokens: Tokens | None = None  # noqa: N815 - the wire's name
    outputTokens: Tokens | None = None  # noqa: N815
    totalTokens: Tokens | None = None  # noqa: N815
    cacheReadInputTokens: Tokens = 0  # noqa: N815
    cacheWriteInputTokens: Tokens = 0  # noqa: N815
    reasoningTokens: Tokens | None = None  # noqa: N815 - of the output


class ScriptedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a tool; it changes the stop reason only when it has a `stop_reason` of its own.

    `arguments` is the input as text, in place of `input`; it need not be JSON.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")] = "look_up"
    input: dict[str, Any] | None = None
    arguments: str | None = None
    id: str | None = None
    stop_reason: StopReason | None = None


class ScriptedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page that the vendor's own web search has found, and that the answer cites."""

    title: str = "The mill"
    url: str = "https://example.org/mill"
    cited: str = "The weir is two metres high."


class Directive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text, the speed and the fault of an answer; null means absent. README.md documents each key."""

    text: str | None = None
    deltas: list[str] | None = None
    tokens: Count | None = None
    chars: Size | None = None
    rate: Rate = 0.0
    first_delay: Seconds = 0.0
    header_delay: Seconds = 0.0
    fault: Fault | ScriptedError | None = None
    at: Count = 0
    times: Count | None = None
    retry_after: Seconds | HeaderValue | None = None
    comments: Comments = 0
    chunk_bytes: Size | None = None
    split_surrogates: bool = False
    reasoning: bool | str = False
    reasoning_field: ReasoningField | None = None
    redacted: bool | str = False
    image: bool | str = False
    search: bool | list[ScriptedSource] = False
    refusal: str | None = None
    blocked: str | None = None
    tool: bool | ScriptedTool = False
    tools: list[ScriptedTool] = []
    stop_reason: StopReason | None = None
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    usage: ScriptedUsage | None = None
    stream: Literal["sse", "ndjson"] | None = None
    events: list[RawEvent] | None = None
    response: Any = msgspec.UNSET
    forced: "dict[str, Directive]" = {}
    then: "Directive | None" = None


def is_directive(text: str) -> bool:
    """Return whether a user's message scripts its answer."""
    return text.startswith(PREFIX)


def parse_directive(text: str) -> Directive:
    """Parse a message for which `is_directive` is true; text after the JSON object is ignored.

    Raises ServiceError (ValidationException) that names the unknown or invalid key.
    """
    try:
        value, _ = _DECODER.raw_decode(text[len(PREFIX) :].lstrip())
        directive = msgspec.convert(value, Directive)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:  # ValueError: bad JSON, bad Unicode
        raise invalid_directive(str(error)) from error
    generated = (directive.tokens or 0) * (directive.chars or 1)
    if generated > MAX_GENERATED:
        raise invalid_directive(f"`tokens` times `chars` is {generated}; the maximum is {MAX_GENERATED}")
    return directive


def find_forced(text: str) -> dict[str, Directive]:
    """Return the scripts for forced tools in a directive, also in one that its caller has shortened.

    A caller that asks a small model about a turn may leave out the middle of a long text. Scripts that are no longer
    whole are lost. Raises ServiceError for an invalid key of a directive that is whole.
    """
    rest = text[len(PREFIX) :].lstrip()
    try:
        _DECODER.raw_decode(rest)
    except (ValueError, RecursionError):
        _, _, value = rest.rpartition('"forced"')
        try:
            return msgspec.convert(_DECODER.raw_decode(value.lstrip(": \n"))[0], dict[str, Directive])
        except (msgspec.ValidationError, ValueError, RecursionError):
            return {}
    return parse_directive(text).forced


def find_unsupported(directive: Directive, unsupported: frozenset[str]) -> str | None:
    """Return a key or a fault of the directive that is among the unsupported ones, None if there is none."""
    blank = Directive()
    given = [name for name in Directive.__struct_fields__ if getattr(directive, name) != getattr(blank, name)]
    named = [directive.fault] if isinstance(directive.fault, str) else []
    return next((name for name in [*given, *named] if name in unsupported), None)


def invalid_directive(reason: str) -> ServiceError:
    """Return the error that explains to the caller why the directive is rejected."""
    return invalid_request(f"Invalid /emulate directive: {reason}")


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
