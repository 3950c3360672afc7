"""The events of one generation on their way into its log: numbered, encoded, kept until Redis acknowledges them."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gevent.event import Event as Signal

from millrace.worker.contract.events import (
    AnyEvent,
    Complete,
    Done,
    Error,
    Link,
    Outcome,
    Suggestions,
    Title,
    encode,
    kind_of,
    status_after,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.lease import ClaimedGeneration, Reclaimed
from millrace.worker.contract.log import Append, Claim
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import GenerationFailed
from millrace.worker.interrupt import Interrupt, LeaseLost
from millrace.worker.publishing.batching import Batcher, Content

EVENT_BYTES = 256  # approximate memory that a queued event takes in addition to its data


@dataclass(slots=True)
class _Queued:
    seq: int
    event: AnyEvent
    data: bytes


class Outbox:
    """The queue between one generation's greenlet, which fills it, and the log writer, which empties it.

    An event that is sent again keeps its number and its bytes. `transcript` is the fold of all events that Redis has
    acknowledged. Only `wait_for_capacity` and `wait_until_empty` block. `schedule` is called whenever the log writer
    has something to append or to flush.
    """

    def __init__(
        self,
        claimed: ClaimedGeneration,
        interrupt: Interrupt,
        batcher: Batcher,
        schedule: Callable[["Outbox"], None],
        buffer_bytes: int,
    ) -> None:
        self.claimed = claimed
        self.claim = claimed.claim
        self.interrupt = interrupt
        self.transcript = Transcript()
        self.is_open = True
        self.can_wait = False
        """Whether the only queued event may wait for the next one, or for the next flush."""
        self.next_seq = claimed.top.seq + 1
        self.last_progress_at = time.monotonic()
        """When Redis last acknowledged an event, or an event was added to the empty queue."""
        self.stored_under: Claim | None = None
        """The claim under which the database accepted or rejected the final answer: nothing is left to store."""
        self.unwritten: Transcript | None = None
        """The transcript with everything that was added, after `give_up`."""
        self._batcher = batcher
        self._schedule = schedule
        self._buffer_bytes = buffer_bytes
        self._queue: deque[_Queued] = deque()
        self._bytes = 0
        self._outcome: Outcome | None = None
        self._has_rejected = False
        self._is_abandoned = False
        self._has_capacity = Signal()
        self._is_empty = Signal()
        self._has_capacity.set()
        self._is_empty.set()

    @property
    def has_unacknowledged(self) -> bool:
        """Whether there are events that Redis has not acknowledged."""
        return bool(self._queue)

    @property
    def has_capacity(self) -> bool:
        """Whether the queue is below its size limit."""
        return self._has_capacity.is_set()

    @property
    def is_active(self) -> bool:
        """Whether more events may be appended to the log."""
        return self.is_open or self.has_unacknowledged

    @property
    def done_cursor(self) -> Cursor:
        """The id that `done` will have if only the outcome is added before it."""
        return Cursor(self.claim.epoch, self.next_seq + (self._outcome is None))

    @property
    def is_finished(self) -> bool:
        """Whether Redis has acknowledged every event, including `done`."""
        return self.transcript.is_done and not self.has_unacknowledged and not self._is_abandoned

    @property
    def has_unflushed(self) -> bool:
        """Whether a flush would add events: buffered deltas, or an event that could wait."""
        return self.is_open and (self.can_wait or self._batcher.has_unflushed)

    def add(self, content: Content) -> None:
        """Add a delta of the model's answer."""
        self._put(self._batcher.add(content))
        if self._batcher.has_unflushed:
            self._schedule(self)

    def emit(self, event: AnyEvent, *, is_urgent: bool = True) -> None:
        """Add an event after all deltas added so far.

        One that is not urgent shares the round trip of the next event, or of the next flush.
        """
        can_wait = not is_urgent and not self._queue and self.is_open
        self._put([*self._batcher.finish(), event], can_wait=can_wait)

    def flush(self) -> None:
        """Turn the buffered deltas into events; an incomplete surrogate pair stays buffered."""
        self._put(self._batcher.flush())
        if self.can_wait:
            self.can_wait = False
            self._schedule(self)

    def emit_outcome(self, outcome: Outcome) -> None:
        """Add the outcome; only `title`, `suggestions` and `done` may follow."""
        self._outcome = outcome
        self.emit(outcome)

    def adopt_sources(self, sources: Sequence[Link]) -> None:
        """Keep the web pages of an attempt that publishes no `context` event with the answer."""
        self.transcript.sources = list(sources)

    def full_transcript(self) -> Transcript:
        """Return the transcript that a reader will have once everything added so far is in the log."""
        self._put(self._batcher.finish())
        transcript = self.transcript.copy()
        for queued in self._queue:
            transcript.apply(queued.event)
        return transcript

    def finish(self, outcome: Outcome) -> None:
        """Add the outcome, unless `emit_outcome` has added one, then `done`; later events are ignored.

        If the outcome counts other calls than the one added before, `done` carries its usage.
        """
        if self._outcome is None:
            self.emit_outcome(outcome)
        done = Done(status_after(outcome))
        if isinstance(outcome, Complete) and outcome.usage_by != getattr(self._outcome, "usage_by", None):
            done = Done(done.status, outcome.usage_by, outcome.usage_total)
        self._put([done])
        self.is_open = False

    def abandon(self, reason: str) -> None:
        """Drop the queue, ignore later events, and interrupt the generation with `LeaseLost`."""
        self.is_open = False
        self.can_wait = False
        self._is_abandoned = True
        self._queue.clear()
        self._bytes = 0
        self._has_capacity.set()
        self._is_empty.set()
        self.interrupt.trigger(LeaseLost(reason))

    def give_up(self) -> None:
        """Do what `abandon` does, because Redis has not answered for too long, and keep the text for the database."""
        self.unwritten = self.full_transcript()
        self.abandon("redis unavailable")

    def wait_for_capacity(self) -> None:
        """Wait until the queue is below its limit, so that the model's stream is read no faster than Redis writes."""
        if not self._has_capacity.is_set():
            self._has_capacity.wait()

    def wait_until_empty(self, seconds: float | None = None) -> bool:
        """Wait until every event is in the log or dropped; return False if `seconds` elapse first."""
        return self._is_empty.wait(seconds)

    def oldest(self, events: int, size: int) -> list[Append]:
        """Return the oldest unacknowledged events: at least one, at most `events`, about `size` bytes."""
        appends: list[Append] = []
        for queued in self._queue:
            is_stored = self.stored_under == self.claim and isinstance(queued.event, Done)
            appends.append(Append(self.claim, queued.seq, kind_of(queued.event), queued.data, is_stored))
            size -= len(queued.data)
            if len(appends) >= events or size <= 0:
                break
        return appends

    def acknowledge(self) -> None:
        """Remove the oldest event, which Redis has acknowledged, and apply it to the transcript."""
        self.last_progress_at = time.monotonic()
        queued = self._queue.popleft()
        self._bytes -= len(queued.data) + EVENT_BYTES
        self.transcript.apply(queued.event)
        self._update_signals()

    def reject_oldest(self) -> None:
        """Replace the oldest event, which Redis will never accept, and all later ones with an error and `done`.

        Abandons the generation if one of these is rejected too, or if the outcome is in the log already.
        """
        if self._has_rejected or self.transcript.outcome is not None:
            self.abandon("rejected")
            return
        self._has_rejected = True
        self.stored_under = None
        self.is_open = False
        failure = GenerationFailed("internal", retryable=True)
        error = Error(failure.code, failure.message, retryable=failure.retryable)
        self._renumber(self._queue[0].seq, [error, Done(status_after(error))])
        self.interrupt.trigger(LeaseLost("rejected"))

    def resume(self, reclaimed: Reclaimed) -> None:
        """Continue under a new claim after Redis lost entries: queue a snapshot, then the unacknowledged events.

        If the outcome was acknowledged, it is queued again after the snapshot, with the events that follow it.
        """
        self.claim = reclaimed.claim
        restored = [self.transcript.snapshot("lost"), *self._acknowledged_ending()]
        # If Redis loses entries again before it has acknowledged these, the queue holds them already.
        events = [*restored, *(queued.event for queued in self._queue if queued.event not in restored)]
        if reclaimed.has_outcome:
            events = [event for event in events if isinstance(event, Title | Suggestions | Done)]
        self._renumber(reclaimed.top.seq + 1, events)

    def _acknowledged_ending(self) -> list[AnyEvent]:
        """Return the acknowledged events that follow the content: the outcome and all after it."""
        transcript = self.transcript
        if transcript.outcome is None:
            return []
        title = [Title(transcript.title)] if transcript.title is not None else []
        suggestions = [Suggestions(transcript.suggestions)] if transcript.suggestions is not None else []
        done = [Done(status_after(transcript.outcome))] if transcript.is_done else []
        return [transcript.outcome, *title, *suggestions, *done]

    def _renumber(self, seq: int, events: Sequence[AnyEvent]) -> None:
        self._queue.clear()
        self._bytes = 0
        self.next_seq = seq
        self._enqueue(events)
        self._update_signals()

    def _put(self, events: Sequence[AnyEvent], *, can_wait: bool = False) -> None:
        if events and self.is_open:
            self._enqueue(events, can_wait=can_wait)

    def _enqueue(self, events: Sequence[AnyEvent], *, can_wait: bool = False) -> None:
        self.can_wait = can_wait
        if not self._queue:
            self.last_progress_at = time.monotonic()
        for event in events:
            queued = _Queued(self.next_seq, event, encode(event))
            self._queue.append(queued)
            self._bytes += len(queued.data) + EVENT_BYTES
            self.next_seq += 1
        self._update_signals()
        self._schedule(self)

    def _update_signals(self) -> None:
        if not self._queue:
            self._is_empty.set()
            self._has_capacity.set()
            return
        self._is_empty.clear()
        # A single event is always accepted, whatever its size.
        if len(self._queue) > 1 and self._bytes >= self._buffer_bytes:
            self._has_capacity.clear()
        else:
            self._has_capacity.set()
