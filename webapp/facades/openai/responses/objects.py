"""The response object and the items of its output, as OpenAI's Responses API has them.

https://platform.openai.com/docs/api-reference/responses/object
"""

from typing import Any, Literal

import msgspec

ResponseStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class PageCitation(msgspec.Struct, frozen=True, tag_field="type", tag="url_citation"):
    """A citation of a web page; both indexes are the length of the text at which the model has given it."""

    url: str
    title: str
    start_index: int
    end_index: int


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """The text of an answer."""

    text: str
    annotations: list[PageCitation] = []
    logprobs: list[Any] = []


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text"):
    """The text of a reasoning."""

    text: str


class MessageItem(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """The answer's text."""

    id: str
    status: ItemStatus
    content: list[OutputText]
    role: Literal["assistant"] = "assistant"


class ReasoningItem(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """The model's reasoning, as a summary of one part, because that is the form that clients show."""

    id: str
    status: ItemStatus
    summary: list[SummaryText]


class FunctionCallItem(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    """The model's use of a tool; `arguments` is JSON."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = ReasoningItem | MessageItem | FunctionCallItem


class ResponseFailure(msgspec.Struct, frozen=True):
    """The reason of a failure: one of OpenAI's codes, a message safe to show, and as `type` our own error code."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str
    type: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """The reason why an answer was cut off."""

    reason: Literal["max_output_tokens", "content_filter"]


class InputTokensDetails(msgspec.Struct, frozen=True):
    """The input tokens that were read from the provider's cache, and those written to it."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """The output tokens that were reasoning."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """The tokens of the answer; `input_tokens` includes cached ones, as OpenAI counts."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class EchoedParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parameters of a request that its response shows again."""

    background: bool = False
    instructions: str | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, Any] | None = None
    safety_identifier: str | None = None
    store: bool = True
    temperature: float | None = None
    text: dict[str, Any] | None = None
    tool_choice: Literal["auto", "none"] = "auto"
    top_p: float | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    user: str | None = None


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """A response: the parameters that it was created with, its status and its output so far."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: bool
    error: ResponseFailure | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None = None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: Literal["auto", "none"]
    tools: list[Any] = []
    top_logprobs: int = 0
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None = None
    user: str | None


class DeletedResponse(msgspec.Struct, frozen=True):
    """The receipt of a deletion."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: Literal[True] = True


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """The text of a message of the input."""

    text: str


class InputItem(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """A message of the input; an answer's text in it is an `output_text`."""

    id: str
    role: Literal["user", "assistant"]
    content: list[InputText | OutputText]
    status: Literal["completed"] = "completed"


class InputItemList(msgspec.Struct, frozen=True):
    """A page of the input's messages."""

    data: list[InputItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"
