"""The answer meter: measures one attempt's answer, holds it to its limits and judges its end."""

import json
import math
import time
from typing import Any, assert_never

from msgspec.structs import asdict, replace

from millrace.worker.contract.events import (
    Cancelled,
    CancelledBy,
    Chunk,
    Citation,
    Complete,
    Error,
    Image,
    Latency,
    PaidCall,
    Reasoning,
    Snapshot,
    ToolResult,
    ToolUse,
    Usage,
)
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.request import ReasoningState
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.prices import with_cost
from millrace.worker.providers.protocol import Details, Prompt, ReasoningBlock, Stopped
from millrace.worker.providers.question import Answering
from millrace.worker.providers.stop_reason import StopReason, failure_of
from millrace.worker.publishing.batching import Content, utf8_size
from millrace.worker.receipt import total_of
from millrace.worker.settings.schema import Settings
from millrace.worker.text.characters import has_visible

CHARS_PER_TOKEN = 4  # a rule of thumb for English, and the reason why such usage is marked as not exact
THOUGHT_ONLY = (
    "The model used up its tokens for thinking, before any answer. Please try again with a larger max_tokens."
)
Measured = Content | Stopped | Usage | Details | ReasoningBlock
"""A delta whose image, if it is one, has been saved."""
ENDING_EVENTS = 6  # reserved for the text still buffered, the outcome, title, suggestions and `done`


class AnswerMeter:
    """Counts bytes, characters, tokens and times of one attempt; `started_at` is a time of `time.monotonic`."""

    def __init__(self, claimed: ClaimedGeneration, started_at: float, settings: Settings) -> None:
        self._claimed = claimed
        self._started_at = started_at
        self._settings = settings
        self._answering: Answering | None = None
        self.paid_calls: list[PaidCall] = []
        """The calls beside the answer's own, such as the intent's."""
        self._max_bytes = settings.generation.max_output_bytes
        self._max_events = settings.generation.max_events
        self._bytes = self._inherited_bytes = self._earlier_bytes = 0
        self.image_bytes = 0
        """The size of the answer's images."""
        self._images_left_out = 0
        self._prompt_chars = 0
        self._call_chars = 0
        self._has_substance = False  # text that a reader sees, or a use of a tool
        self._first_delta_ms: int | None = None
        self._reasoning_from_ms: int | None = None
        self._reasoning_until_ms: int | None = None
        self._stop_reason: StopReason | None = None
        self._usage: Usage | None = None
        self._details: dict[str, Any] = {}
        self._reasoning_blocks: list[ReasoningBlock] = []
        self._adopted: ReasoningState | None = None
        self._has_inherited = False  # the answer's beginning is another call's
        self._has_used_tools = False
        self.chars = 0
        self.chunks = 0
        self.cancelled_at: float | None = None
        """When a cancel had closed the model's stream."""

    @property
    def is_first_call(self) -> bool:
        """Whether no candidate has sent any content in this attempt."""
        return self._answering is None

    @property
    def has_begun(self) -> bool:
        """Whether the model has sent any content in this attempt."""
        return self._first_delta_ms is not None

    @property
    def received_bytes(self) -> int:
        """The size of the text and reasoning that models have sent in this attempt."""
        return self._earlier_bytes + self._bytes - self._inherited_bytes

    def start_from(self, snapshot: Snapshot) -> None:
        """Count the text that the answer continues from towards its limits; replaces an earlier start."""
        self._earlier_bytes = self.received_bytes
        self._bytes = self._inherited_bytes = utf8_size(snapshot.content) + utf8_size(snapshot.reasoning)
        self.image_bytes = sum(image.bytes for image in snapshot.images)
        self._has_substance = self._has_inherited = has_visible(snapshot.content)

    def record_prompt(self, prompt: Prompt) -> None:
        """Record the size of a prompt, for an estimate of the input tokens."""
        self._prompt_chars = sum(map(len, prompt.system)) + sum(len(each.content) for each in prompt.messages)

    def start_call(self, answering: Answering) -> None:
        """Count the following deltas as this candidate's; a candidate before it has failed in mid-answer."""
        if self._answering is not None:
            self.paid_calls.append(self._paid_call(self._answering))
        self._answering = answering
        self._usage, self._stop_reason, self._details, self._images_left_out = None, None, {}, 0
        self._reasoning_blocks, self._has_used_tools = [], False
        self._call_chars = 0

    def leave_image_out(self) -> Details:
        """Count an image that is not in the answer, for the outcome's details."""
        self._images_left_out += 1
        return Details({"images_left_out": self._images_left_out})

    def accept(self, delta: Measured, events: int) -> Content | None:
        """Measure a delta; return it if it belongs into the log, which has `events` events so far, else None.

        Raises GenerationFailed (`limit_exceeded`) instead of accepting more than the limits allow.
        """
        match delta:
            case Stopped() | Usage() | Details() | ReasoningBlock():
                self._record(delta)
                return None
            case Chunk() | Reasoning():
                self._measure_text(delta)
            case Image():
                self.image_bytes += delta.bytes
                self._has_substance = True
            case ToolUse():
                self._has_substance = self._has_used_tools = True
            case Citation() | ToolResult():
                pass
            case _:
                assert_never(delta)
        if not self.has_begun:
            self._first_delta_ms = self._elapsed_ms()
        if self._bytes > self._max_bytes or events + ENDING_EVENTS > self._max_events:
            raise GenerationFailed("limit_exceeded", retryable=False)
        return delta

    def _record(self, delta: Stopped | Usage | Details | ReasoningBlock) -> None:
        match delta:
            case Stopped(reason):
                self._stop_reason = reason
            case Usage():
                self._usage = delta
            case Details(fields):
                self._details |= fields
            case ReasoningBlock():
                self._reasoning_blocks.append(delta)
            case _:
                assert_never(delta)

    def _measure_text(self, delta: Chunk | Reasoning) -> None:
        text = delta.content
        self._bytes += utf8_size(text)
        self.chars += len(text)
        self._call_chars += len(text)
        self.chunks += 1
        if isinstance(delta, Reasoning):
            if self._reasoning_from_ms is None:
                self._reasoning_from_ms = self._elapsed_ms()
        elif self._reasoning_until_ms is None and self._reasoning_from_ms is not None:
            self._reasoning_until_ms = self._elapsed_ms()
        self._has_substance = self._has_substance or (isinstance(delta, Chunk) and has_visible(text))

    def complete(self) -> Complete:
        """Return the outcome of a stream that has ended; raises GenerationFailed if the answer is not complete."""
        if self._stop_reason is None:
            raise GenerationFailed("truncated", retryable=True)
        failure = failure_of(self._stop_reason)
        if failure is not None:
            raise failure
        if not self._has_substance:
            has_run_out = self._reasoning_from_ms is not None and self._stop_reason == "max_tokens"
            raise GenerationFailed("empty_answer", retryable=True, message=THOUGHT_ONLY if has_run_out else None)
        answering = self._answering
        assert answering is not None, "an answer without content is empty"
        receipt = self.receipt()
        return Complete(
            mode=answering.mode,
            stop_reason=self._stop_reason,
            usage=self.usage(),
            latency=self.latency(),
            model=answering.candidate.id,
            provider=answering.candidate.provider,
            message_id=self._claimed.message,
            stored=False,
            requested_model=self._claimed.request.model,
            provider_details=self._details or None,
            usage_by=receipt,
            usage_total=total_of(receipt),
        )

    def adopt(self, state: ReasoningState | None) -> None:
        """Take over the reasoning of the complete answer that an earlier attempt has stored."""
        self._adopted = state

    def reasoning_state(self) -> ReasoningState | None:
        """Return what a later turn gives back to the provider; None if there is nothing, or it must not be given back.

        It belongs before the whole text: an answer that another call has begun, or that has used tools between its
        thoughts, has no such place.
        """
        if self._adopted is not None:
            return self._adopted
        blocks, answering = self._reasoning_blocks, self._answering
        if not blocks or answering is None or self._has_inherited or self._has_used_tools:
            return None
        found = [each.block for each in blocks]
        if len(json.dumps(found)) > self._max_bytes:
            return None
        candidate, is_requested = answering.candidate, any(each.is_requested for each in blocks)
        return ReasoningState(candidate.provider, candidate.id, found, is_requested)

    def cancelled(self, by: CancelledBy) -> Cancelled:
        """Return the outcome of an answer that is cancelled now; its stream is closed."""
        self.cancelled_at = time.monotonic()
        receipt = self.receipt()
        return Cancelled(by, self.usage(), *self.who_answered(), receipt, self.latency(), _total(receipt))

    def failed(self, failure: GenerationFailed) -> Error:
        """Return the outcome of an answer that fails now."""
        usage = self.usage() if self._answering else None
        receipt = self.receipt()
        return Error(
            failure.code,
            failure.message,
            failure.retryable,
            usage,
            *self.who_answered(),
            usage_by=receipt,
            latency=self.latency(),
            usage_total=_total(receipt),
        )

    def with_calls(self, outcome: Complete) -> Complete:
        """Return the outcome with the calls that have been paid for since, such as the title's.

        The outcome may be that of an earlier attempt, which has its own calls.
        """
        later = [call for call in self.receipt() if call not in outcome.usage_by]
        if not later:
            return outcome
        calls = [*outcome.usage_by, *later]
        return replace(outcome, usage_by=calls, usage_total=total_of(calls))

    def receipt(self) -> list[PaidCall]:
        """Return all paid calls so far, the answer's last."""
        return [*self.paid_calls, *([self._paid_call(self._answering)] if self._answering else [])]

    def usage(self) -> Usage:
        """Return the provider's token counts, else an estimate: a stream that is closed early reports none."""
        if self._usage is not None:
            return self._usage
        tokens_in = math.ceil(self._prompt_chars / CHARS_PER_TOKEN)
        estimate = Usage(tokens_in, math.ceil(self._call_chars / CHARS_PER_TOKEN), exact=False)
        return with_cost(estimate, self._answering.candidate, self._settings) if self._answering else estimate

    def _paid_call(self, answering: Answering) -> PaidCall:
        candidate = answering.candidate
        return PaidCall(purpose="answer", provider=candidate.provider, model=candidate.id, **asdict(self.usage()))

    def who_answered(self) -> tuple[str | None, str | None, str]:
        """Return the model and the provider that answered, None before any content, and the requested model."""
        candidate = self._answering.candidate if self._answering else None
        return candidate and candidate.id, candidate and candidate.provider, self._claimed.request.model

    def latency(self) -> Latency:
        """Return the milliseconds from the claim to the first delta and to now, and those of the reasoning."""
        now, begun = self._elapsed_ms(), self._reasoning_from_ms
        if begun is None:
            return Latency(self._first_delta_ms, now)
        until = now if self._reasoning_until_ms is None else self._reasoning_until_ms
        return Latency(self._first_delta_ms, now, until - begun)

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._started_at) * 1000)


def _total(receipt: list[PaidCall]) -> Usage | None:
    """Return the sum; None if no call has been paid for."""
    return total_of(receipt) if receipt else None
