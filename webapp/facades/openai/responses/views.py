"""A generation as a response: its parameters, how it ended, and the whole object for a client that polls."""

from dataclasses import dataclass
from typing import Literal, assert_never

import msgspec

from millrace.webapp.facades.openai.ids import RESPONSE, id_of
from millrace.webapp.facades.openai.parameters import prompt_tokens
from millrace.webapp.facades.openai.responses.objects import (
    EchoedParameters,
    IncompleteDetails,
    InputTokensDetails,
    ItemStatus,
    OutputItem,
    OutputTokensDetails,
    ResponseFailure,
    ResponseObject,
    ResponseStatus,
    ResponseUsage,
)
from millrace.webapp.facades.openai.responses.output import output_of
from millrace.worker.contract.events import Cancelled, Complete, Error, Outcome, Usage
from millrace.worker.contract.request import RequestSummary
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript

ECHO = "response"
"""The member of a request's echo that holds the parameters of a response."""

_FAILURE_CODES: dict[str, Literal["rate_limit_exceeded", "invalid_prompt"]] = {
    "provider_throttled": "rate_limit_exceeded",
    "context_too_long": "invalid_prompt",
}


@dataclass(frozen=True)
class ResponseEnding:
    """The status of a response, with the reason where it is not a whole answer."""

    status: ResponseStatus
    error: ResponseFailure | None = None
    incomplete: IncompleteDetails | None = None

    @property
    def item_status(self) -> ItemStatus:
        """The status of an item that grew until the end."""
        return "completed" if self.status == "completed" else "incomplete"


@dataclass(frozen=True)
class ResponseDescription:
    """The part of a response that stays the same from its beginning to its end."""

    generation: str
    created_at: int
    model: str
    metadata: dict[str, str]
    echo: EchoedParameters

    def response(
        self, ending: ResponseEnding, output: list[OutputItem] | None = None, usage: Usage | None = None
    ) -> ResponseObject:
        """Return the response with this status and output."""
        echo = self.echo
        return ResponseObject(
            id=id_of(RESPONSE, self.generation),
            created_at=self.created_at,
            status=ending.status,
            background=echo.background,
            error=ending.error,
            incomplete_details=ending.incomplete,
            instructions=echo.instructions,
            max_output_tokens=echo.max_output_tokens,
            metadata=self.metadata,
            model=self.model,
            output=output or [],
            parallel_tool_calls=echo.parallel_tool_calls,
            previous_response_id=echo.previous_response_id,
            prompt_cache_key=echo.prompt_cache_key,
            reasoning=echo.reasoning or {"effort": None, "summary": None},
            safety_identifier=echo.safety_identifier,
            store=echo.store,
            temperature=echo.temperature,
            text=echo.text or {"format": {"type": "text"}},
            tool_choice=echo.tool_choice,
            top_p=echo.top_p,
            truncation=echo.truncation,
            usage=None if usage is None else _render_usage(usage),
            user=echo.user,
        )


def describe(state: GenerationState, summary: RequestSummary | None, model: str | None = None) -> ResponseDescription:
    """Return the description of a generation; `model` takes the place of the request's where that is not known."""
    echo = (summary.echo if summary else None) or {}
    try:
        parameters = msgspec.convert(echo.get(ECHO) or {}, EchoedParameters)
    except msgspec.ValidationError:  # of a newer version
        parameters = EchoedParameters()
    metadata = (summary.metadata if summary else None) or {}
    known = summary.model if summary else model
    return ResponseDescription(state.generation, state.created_ms // 1000, known or "", metadata, parameters)


def response_of(state: GenerationState, summary: RequestSummary | None, transcript: Transcript) -> ResponseObject:
    """Return the response as it is now."""
    outcome = transcript.outcome
    if outcome is None:
        ending = ResponseEnding("queued" if state.status == "queued" else "in_progress")
        item_status: ItemStatus = "in_progress"
    else:
        ending = ending_of(outcome)
        item_status = ending.item_status
    output = output_of(state.generation, transcript, item_status)
    return describe(state, summary, transcript.model).response(ending, output, usage_of(outcome))


def ending_of(outcome: Outcome) -> ResponseEnding:
    """Return the status after an outcome."""
    match outcome:
        case Complete(stop_reason="max_tokens"):
            return ResponseEnding("incomplete", incomplete=IncompleteDetails("max_output_tokens"))
        case Complete():
            return ResponseEnding("completed")
        case Cancelled():
            return ResponseEnding("cancelled")
        case Error(code="content_filtered"):
            return ResponseEnding("incomplete", incomplete=IncompleteDetails("content_filter"))
        case Error(code, message):
            return ResponseEnding("failed", ResponseFailure(_FAILURE_CODES.get(code, "server_error"), message, code))
        case _:
            assert_never(outcome)


def usage_of(outcome: Outcome | None) -> Usage | None:
    """Return the tokens of an answer; None while it runs, and where a failed one has counted none."""
    return None if outcome is None else outcome.usage


def _render_usage(usage: Usage) -> ResponseUsage:
    prompt = prompt_tokens(usage)
    return ResponseUsage(
        prompt,
        InputTokensDetails(usage.cache_read_tokens, usage.cache_write_tokens),
        usage.output_tokens,
        OutputTokensDetails(usage.reasoning_tokens),
        prompt + usage.output_tokens,
    )
