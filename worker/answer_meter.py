"""The answer meter: measures one attempt's answer, holds it to its limits and judges its end."""

import math
import time
from typing import Any, assert_never

from millrace.worker.contract.events import (
    Chunk,
    Citation,
    Complete,
    Latency,
    Reasoning,
    Snapshot,
    ToolResult,
    ToolUse,
    Usage,
)
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Delta, Details, Prompt, Stopped
from millrace.worker.providers.stop_reason import StopReason, failure_of
from millrace.worker.publishing.batching import Content, utf8_size
from millrace.worker.settings.schema import Settings

CHARS_PER_TOKEN = 4  # a rule of thumb for English, and the reason why such usage is marked as not exact
THOUGHT_ONLY = (
    "The model used up its tokens for thinking, before any answer. Please try again with a larger max_tokens."
)
ENDING_EVENTS = 6  # reserved for the text still buffered, the outcome, title, suggestions and `done`


class AnswerMeter:
    """Counts bytes, characters, tokens and times of one attempt; `started_at` is a time of `time.monotonic`."""

    def __init__(self, claimed: ClaimedGeneration, provider: str, started_at: float, settings: Settings) -> None:
        self._claimed = claimed
        self._provider = provider
        self._started_at = started_at
        self._max_bytes = settings.generation.max_output_bytes
        self._max_events = settings.generation.max_events
        self._bytes = 0
        self._prompt_chars = 0
        self._has_substance = False  # text that a reader sees, or a use of a tool
        self._has_reasoned = False
        self._first_delta_ms: int | None = None
        self._stop_reason: StopReason | None = None
        self._usage: Usage | None = None
        self._details: dict[str, Any] = {}
        self.chars = 0
        self.chunks = 0

    @property
    def has_begun(self) -> bool:
        """Whether the model has sent any content in this attempt."""
        return self._first_delta_ms is not None

    def start_from(self, snapshot: Snapshot) -> None:
        """Count the text that the answer continues from towards its limits; replaces an earlier start."""
        self._bytes = utf8_size(snapshot.content) + utf8_size(snapshot.reasoning)
        self._has_substance = bool(snapshot.content.strip())

    def record_prompt(self, prompt: Prompt) -> None:
        """Record the size of a prompt, for an estimate of the input tokens."""
        self._prompt_chars = sum(map(len, prompt.system)) + sum(len(each.content) for each in prompt.messages)

    def accept(self, delta: Delta, events: int) -> Content | None:
        """Measure a delta; return it if it belongs into the log, which has `events` events so far, else None.

        Raises GenerationFailed (`limit_exceeded`) instead of accepting more than the limits allow.
        """
        match delta:
            case Stopped(reason):
                self._stop_reason = reason
                return None
            case Usage():
                self._usage = delta
                return None
            case Details(fields):
                self._details |= fields
                return None
            case Chunk(text) | Reasoning(text):
                self._bytes += utf8_size(text)
                self.chars += len(text)
                self.chunks += 1
                self._has_reasoned = self._has_reasoned or isinstance(delta, Reasoning)
                self._has_substance = self._has_substance or (isinstance(delta, Chunk) and bool(text.strip()))
            case ToolUse():
                self._has_substance = True
            case Citation() | ToolResult():
                pass
            case _:
                assert_never(delta)
        if not self.has_begun:
            self._first_delta_ms = self._elapsed_ms()
        if self._bytes > self._max_bytes or events + ENDING_EVENTS > self._max_events:
            raise GenerationFailed("limit_exceeded", retryable=False)
        return delta

    def complete(self) -> Complete:
        """Return the outcome of a stream that has ended; raises GenerationFailed if the answer is not complete."""
        if self._stop_reason is None:
            raise GenerationFailed("truncated", retryable=True)
        failure = failure_of(self._stop_reason)
        if failure is not None:
            raise failure
        if not self._has_substance:
            has_run_out = self._has_reasoned and self._stop_reason == "max_tokens"
            raise GenerationFailed("empty_answer", retryable=True, message=THOUGHT_ONLY if has_run_out else None)
        return Complete(
            mode="live",
            stop_reason=self._stop_reason,
            usage=self.usage(),
            latency=self.latency(),
            model=self._claimed.request.model,
            provider=self._provider,
            message_id=self._claimed.message,
            stored=False,
            requested_model=self._claimed.request.model,
            provider_details=self._details or None,
        )

    def usage(self) -> Usage:
        """Return the provider's token counts, else an estimate: a stream that is closed early reports none."""
        if self._usage is not None:
            return self._usage
        tokens_in = math.ceil(self._prompt_chars / CHARS_PER_TOKEN)
        return Usage(tokens_in, math.ceil(self.chars / CHARS_PER_TOKEN), exact=False)

    def latency(self) -> Latency:
        """Return the milliseconds from the claim to the first delta and to now."""
        return Latency(self._first_delta_ms, self._elapsed_ms())

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._started_at) * 1000)
