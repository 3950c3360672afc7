"""The parts of a UI message stream, named and spelled as the AI SDK's `uiMessageChunkSchema` has them.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.worker.contract.events import Usage

FinishReason = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]


class UiPart(msgspec.Struct, frozen=True, tag_field="type", rename="camel", omit_defaults=True, kw_only=True):
    """The base of all parts; `type` is the first field of each."""


class UiUsage(msgspec.Struct, frozen=True, rename="camel"):
    """Tokens in the SDK's terms: `inputTokens` includes cached ones. `exact` is false where they are estimated."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    reasoning_tokens: int
    cached_input_tokens: int
    exact: bool

    @classmethod
    def of(cls, usage: Usage) -> "UiUsage":
        """Return the usage in the SDK's terms."""
        given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        total = given + usage.output_tokens
        return cls(given, usage.output_tokens, total, usage.reasoning_tokens, usage.cache_read_tokens, usage.exact)


class UiMetadata(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The metadata of an answer; the SDK merges later ones into earlier ones. `cost` is in US dollars."""

    generation: str | UnsetType = UNSET
    conversation_id: str | UnsetType = UNSET
    outcome: Literal["complete", "cancelled", "error"] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    retryable: bool | UnsetType = UNSET
    usage: UiUsage | UnsetType = UNSET
    total_usage: UiUsage | UnsetType = UNSET
    cost: float | UnsetType = UNSET


class UiStart(UiPart, frozen=True, tag="start"):
    """The first part of a message."""

    message_id: str
    message_metadata: UiMetadata


class UiStartStep(UiPart, frozen=True, tag="start-step"):
    """The beginning of the parts that `reset-step` removes."""


class UiResetStep(UiPart, frozen=True, tag="reset-step"):
    """Remove all parts since `start-step`; version 7 of the SDK has it."""


class UiFinishStep(UiPart, frozen=True, tag="finish-step"):
    """The end of the step."""


class UiTextStart(UiPart, frozen=True, tag="text-start"):
    """A new block of text."""

    id: str


class UiTextDelta(UiPart, frozen=True, tag="text-delta"):
    """Append to the block."""

    id: str
    delta: str


class UiTextEnd(UiPart, frozen=True, tag="text-end"):
    """The end of the block."""

    id: str


class UiReasoningStart(UiPart, frozen=True, tag="reasoning-start"):
    """A new block of reasoning."""

    id: str


class UiReasoningDelta(UiPart, frozen=True, tag="reasoning-delta"):
    """Append to the block."""

    id: str
    delta: str


class UiReasoningEnd(UiPart, frozen=True, tag="reasoning-end"):
    """The end of the block."""

    id: str


class UiToolInputStart(UiPart, frozen=True, tag="tool-input-start"):
    """A use of a tool on the provider's side; the app's own code is not asked."""

    tool_call_id: str
    tool_name: str
    provider_executed: bool
    dynamic: bool


class UiToolInputAvailable(UiPart, frozen=True, tag="tool-input-available"):
    """The whole input of the tool."""

    tool_call_id: str
    tool_name: str
    input: Any
    provider_executed: bool
    dynamic: bool


class UiToolOutputAvailable(UiPart, frozen=True, tag="tool-output-available"):
    """The tool's result."""

    tool_call_id: str
    output: Any
    provider_executed: bool
    dynamic: bool


class UiToolOutputError(UiPart, frozen=True, tag="tool-output-error"):
    """The tool has failed."""

    tool_call_id: str
    error_text: str
    provider_executed: bool
    dynamic: bool


class UiSourceUrl(UiPart, frozen=True, tag="source-url"):
    """A web page that the answer is built on or cites."""

    source_id: str
    url: str
    title: str | UnsetType = UNSET


class UiSourceDocument(UiPart, frozen=True, tag="source-document"):
    """A document that the answer cites and that has no address."""

    source_id: str
    media_type: str
    title: str


class UiFile(UiPart, frozen=True, tag="file"):
    """An image that the model has made."""

    url: str
    media_type: str


class UiStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The generation's progress, as in the event `status`."""

    status: Literal["queued", "running", "searching", "retrying"]
    attempt: int | None = None
    model: str | None = None
    provider: str | None = None
    code: str | None = None


class UiTitle(msgspec.Struct, frozen=True):
    """The conversation's title."""

    title: str


class UiSuggestions(msgspec.Struct, frozen=True):
    """Questions that the user may want to ask next."""

    suggestions: list[str]


class UiResume(msgspec.Struct, frozen=True):
    """Why the stream ends early: the answer began again with another text, or the server is being restarted."""

    reason: Literal["restarted", "interrupted"]


class UiDataStatus(UiPart, frozen=True, tag="data-status"):
    """Progress; transient, so that it is no part of the message."""

    data: UiStatus
    transient: bool


class UiDataTitle(UiPart, frozen=True, tag="data-title"):
    """The conversation's title."""

    id: str
    data: UiTitle


class UiDataSuggestions(UiPart, frozen=True, tag="data-suggestions"):
    """Questions to ask next."""

    id: str
    data: UiSuggestions


class UiDataResume(UiPart, frozen=True, tag="data-resume"):
    """The generation goes on, but not on this stream: an app may call `resumeStream()`; an `error` follows."""

    data: UiResume
    transient: bool


class UiMessageMetadata(UiPart, frozen=True, tag="message-metadata"):
    """Metadata to be merged into the message's."""

    message_metadata: UiMetadata


class UiFinish(UiPart, frozen=True, tag="finish"):
    """The end of a message that was not cancelled."""

    finish_reason: FinishReason
    message_metadata: UiMetadata | UnsetType = UNSET


class UiAbort(UiPart, frozen=True, tag="abort"):
    """The answer was cancelled; the text so far stands."""

    reason: str


class UiError(UiPart, frozen=True, tag="error"):
    """The stream has failed; the SDK's client stops reading here."""

    error_text: str


UI_PARTS = (
    *(UiStart, UiStartStep, UiResetStep, UiFinishStep, UiTextStart, UiTextDelta, UiTextEnd),
    *(UiReasoningStart, UiReasoningDelta, UiReasoningEnd),
    *(UiToolInputStart, UiToolInputAvailable, UiToolOutputAvailable, UiToolOutputError),
    *(UiSourceUrl, UiSourceDocument, UiFile, UiDataStatus, UiDataTitle, UiDataSuggestions, UiDataResume),
    *(UiMessageMetadata, UiFinish, UiAbort, UiError, Literal["[DONE]"]),
)
"""All parts, and the line that ends a stream."""
