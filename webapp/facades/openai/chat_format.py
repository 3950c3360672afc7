"""The bodies and frames of chat completions, with `reasoning_content`, as DeepSeek, vLLM and llama.cpp call it.

https://platform.openai.com/docs/api-reference/chat
"""

import json
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.webapp.facades.openai.errors import ErrorBody
from millrace.webapp.facades.openai.parameters import prompt_tokens
from millrace.worker.contract.events import Cancelled, CancelledBy, Complete, Error, Status, Usage
from millrace.worker.contract.transcript import Transcript

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH_REASONS: dict[str, FinishReason] = {"max_tokens": "length", "tool_use": "tool_calls"}


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the prompt that the provider read from its cache."""

    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the answer that are reasoning."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, frozen=True):
    """Tokens of the answer; `prompt_tokens` include cached ones, `completion_tokens` reasoning."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class FunctionCall(msgspec.Struct, frozen=True):
    """The name of a tool and its input as JSON."""

    name: str
    arguments: str


class CompletionToolCall(msgspec.Struct, frozen=True):
    """A tool that the model asks for; this server passes the call on and does not run it."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class UrlCitation(msgspec.Struct, frozen=True):
    """A web page that the answer cites; which part of the text cites it is not known, so that it is all of it."""

    url: str
    title: str
    start_index: int
    end_index: int


class UrlAnnotation(msgspec.Struct, frozen=True):
    """A citation."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class ToolCallDelta(msgspec.Struct, frozen=True):
    """The same in a stream, in one piece."""

    index: int
    id: str
    type: Literal["function"]
    function: FunctionCall


class CompletionDelta(msgspec.Struct, frozen=True):
    """The next piece of the message; append it."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    annotations: list[UrlAnnotation] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    """The only choice of a chunk."""

    delta: CompletionDelta
    finish_reason: FinishReason | None
    index: Literal[0] = 0
    logprobs: None = None


class CompletionChunk(msgspec.Struct, frozen=True):
    """A frame of a stream; with `include_usage` the last one has the usage and no choice, the others a null."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | UnsetType | None = UNSET
    cancelled_by: CancelledBy | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    system_fingerprint: None = None


class CompletionMessage(msgspec.Struct, frozen=True):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CompletionToolCall] | UnsetType = UNSET
    annotations: list[UrlAnnotation] | UnsetType = UNSET


class CompletionChoice(msgspec.Struct, frozen=True):
    """The only choice of a completion."""

    message: CompletionMessage
    finish_reason: FinishReason | None
    index: Literal[0] = 0
    logprobs: None = None


class ChatCompletion(msgspec.Struct, frozen=True):
    """A completion; while it is being written its `finish_reason` is null and its message the text so far."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None
    cancelled_by: CancelledBy | UnsetType = UNSET
    object: Literal["chat.completion"] = "chat.completion"
    system_fingerprint: None = None


class CompletionStatus(msgspec.Struct, frozen=True):
    """The status of a completion after a request to cancel it."""

    id: str
    status: Status
    object: Literal["chat.completion"] = "chat.completion"


CHAT_STREAM = (CompletionChunk, ErrorBody, Literal["[DONE]"])


def finish_reason_of(outcome: Complete | Cancelled | Error | None, *, has_text: bool) -> FinishReason | None:
    """Return why a completion has ended; None while it runs, and for a failure, which has no finish reason.

    A cancelled answer is cut off, for which the protocol has `length`: a client that asks for JSON must not parse it. A
    filter that strikes after some text ends the answer with `content_filter`.
    """
    match outcome:
        case Complete(stop_reason=reason):
            return _FINISH_REASONS.get(reason, "stop")
        case Cancelled():
            return "length"
        case Error(code="content_filtered") if has_text:
            return "content_filter"
        case Error() | None:
            return None


def usage_of(usage: Usage) -> CompletionUsage:
    """Return the usage of an answer as OpenAI counts it."""
    prompt = prompt_tokens(usage)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=usage.output_tokens,
        total_tokens=prompt + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(usage.cache_read_tokens),
        completion_tokens_details=CompletionTokensDetails(usage.reasoning_tokens),
    )


def tool_calls_of(tools: list[Any]) -> list[CompletionToolCall]:
    """Return the tools of a transcript as calls."""
    calls = [FunctionCall(each["name"], json.dumps(each["input"], ensure_ascii=False)) for each in tools]
    return [CompletionToolCall(tool["id"], "function", call) for tool, call in zip(tools, calls, strict=True)]


def annotations_of(citations: list[Any], length: int) -> list[UrlAnnotation]:
    """Return the web pages among the citations of a transcript, whose text has this length; each page once."""
    pages: dict[str, str] = {}
    for citation in citations:
        match citation:
            case {"location": {"web": {"url": str(url)}}, **rest}:
                title = rest.get("title")
                pages.setdefault(url, title if isinstance(title, str) else url)
            case _:
                pass  # a place in a document
    return [UrlAnnotation("url_citation", UrlCitation(url, title, 0, length)) for url, title in pages.items()]


def completion_of(theirs: str, created: int, model: str, transcript: Transcript) -> ChatCompletion:
    """Return the completion that a transcript amounts to, which has not failed."""
    outcome, text, reasoning = transcript.outcome, transcript.content, transcript.reasoning
    finish_reason = finish_reason_of(outcome, has_text=bool(text))
    calls = tool_calls_of(transcript.tools) if finish_reason == "tool_calls" else []
    message = CompletionMessage(
        "assistant",
        content=text or None if calls else text,
        reasoning_content=reasoning or UNSET,
        tool_calls=calls or UNSET,
        annotations=annotations_of(transcript.citations, len(text)) or UNSET,
    )
    return ChatCompletion(
        theirs,
        created,
        model,
        [CompletionChoice(message, finish_reason)],
        usage=usage_of(outcome.usage) if outcome and outcome.usage else None,
        cancelled_by=outcome.by if isinstance(outcome, Cancelled) else UNSET,
    )
