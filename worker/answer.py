"""What has come of a model's answer: measured, held to its limits, judged at its end."""

import math
import time

from millrace.worker.contract.events import Chunk, Complete, Latency, Reasoning, Snapshot, ToolUse, Usage
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.mapping import map_stop_reason
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.publishing.batching import Content, size_of
from millrace.worker.settings.schema import Settings

CHARS_PER_TOKEN = 4  # a rule of thumb for English, and the reason why such usage is marked as not exact
ENDING_EVENTS = 6  # kept free for the text still gathered, the outcome, title, suggestions and `done`


class AnswerMeter:
    """The measure of one attempt's answer; `begun_at` is of `time.monotonic`."""

    def __init__(self, holding: ClaimedGeneration, provider: str, begun_at: float, settings: Settings) -> None:
        self._holding = holding
        self._provider = provider
        self._begun_at = begun_at
        self._most_bytes = settings.generation.max_output_bytes
        self._most_events = settings.generation.max_events
        self._bytes = 0
        self._asked_chars = 0
        self._has_substance = False
        self._first_delta_ms: int | None = None
        self._stop_reason: str | None = None
        self._usage: Usage | None = None
        self.chars = 0
        self.chunks = 0

    @property
    def has_begun(self) -> bool:
        """Whether the model has said anything in this attempt."""
        return self._first_delta_ms is not None

    def begin(self, beginning: Snapshot) -> None:
        """Count what the answer begins with, within its limits."""
        self._bytes = size_of(beginning.content) + size_of(beginning.reasoning)
        self._has_substance = bool(beginning.content)

    def asks(self, prompt: Prompt) -> None:
        """Take note of what the model is asked."""
        self._asked_chars = sum(map(len, prompt.system)) + sum(len(each.content) for each in prompt.messages)

    def take(self, delta: Delta, events: int) -> Content | None:
        """Measure a delta and return it where it belongs into the log; `events` is how many the log has so far.

        Raises Failure (`limit_exceeded`) instead of taking more than allowed.
        """
        match delta:
            case Stopped(reason):
                self._stop_reason = reason
                return None
            case Usage():
                self._usage = delta
                return None
            case Chunk(text) | Reasoning(text):
                self._bytes += size_of(text)
                self.chars += len(text)
                self.chunks += 1
                self._has_substance = self._has_substance or bool(text)
            case ToolUse():
                self._has_substance = True
            case _:
                pass
        if not self.has_begun:
            self._first_delta_ms = self._elapsed_ms()
        if self._bytes > self._most_bytes or events + ENDING_EVENTS > self._most_events:
            raise GenerationFailed("limit_exceeded", retryable=False)
        return delta

    def complete(self) -> Complete:
        """Return the outcome of a stream that has come to its end; raises Failure where the answer is none."""
        if self._stop_reason is None:
            raise GenerationFailed("truncated", retryable=True)
        failure = map_stop_reason(self._stop_reason)
        if failure is not None:
            raise failure
        if not self._has_substance:
            raise GenerationFailed("empty_answer", retryable=True)
        return Complete(
            mode="live",
            stop_reason=self._stop_reason,
            usage=self.usage(),
            latency=self.latency(),
            model=self._holding.request.model,
            provider=self._provider,
            message_id=self._holding.message,
            stored=False,
        )

    def usage(self) -> Usage:
        """Return the tokens as the provider told them, else an estimate: after an early close there is no telling."""
        if self._usage is not None:
            return self._usage
        tokens_in = math.ceil(self._asked_chars / CHARS_PER_TOKEN)
        return Usage(tokens_in, math.ceil(self.chars / CHARS_PER_TOKEN), exact=False)

    def latency(self) -> Latency:
        """Return the milliseconds from the claim to the first delta and to now."""
        return Latency(self._first_delta_ms, self._elapsed_ms())

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._begun_at) * 1000)
