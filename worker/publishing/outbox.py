"""The events of one generation on their way into its log: numbered, encoded, kept until Redis has them for sure."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gevent.event import Event as Signal

from millrace.worker.contract.events import (
    AnyEvent,
    Done,
    Error,
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
from millrace.worker.interrupt import HoldLost, Interrupt
from millrace.worker.publishing.batching import Batcher, Content

EVENT_BYTES = 256  # what an event takes here besides its data, about


@dataclass(slots=True)
class _Queued:
    seq: int
    event: AnyEvent
    data: bytes


class Outbox:
    """One generation's way into its log, filled by its greenlet and emptied by the writer's.

    An event keeps its number and its bytes however often it is sent. `transcript` is the fold of what Redis has
    acknowledged. Nothing here waits but `wait_for_room` and `wait`.
    """

    def __init__(
        self,
        holding: ClaimedGeneration,
        interrupt: Interrupt,
        batcher: Batcher,
        notice: Callable[["Outbox"], None],
        buffer_bytes: int,
    ) -> None:
        self.holding = holding
        self.claim = holding.claim
        self.interrupt = interrupt
        self.transcript = Transcript()
        self.is_open = True
        self.next_seq = holding.top.seq + 1
        self.heard_at = time.monotonic()
        self.settled_by: Claim | None = None
        """The claim under which the database took all of the answer, or refused it: nobody has to see to that later."""
        self._batcher = batcher
        self._notice = notice
        self._buffer_bytes = buffer_bytes
        self._queue: deque[_Queued] = deque()
        self._bytes = 0
        self._outcome: Outcome | None = None
        self._is_refused = False
        self._is_stopped = False
        self._has_room = Signal()
        self._is_empty = Signal()
        self._has_room.set()
        self._is_empty.set()

    @property
    def is_waiting(self) -> bool:
        """Whether there are events that Redis has not acknowledged."""
        return bool(self._queue)

    @property
    def has_room(self) -> bool:
        """Whether the queue is within its bound."""
        return self._has_room.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether anything may still be written."""
        return self.is_open or self.is_waiting

    @property
    def done_cursor(self) -> Cursor:
        """The id that `done` is to have, where nothing but the outcome comes before it, if that is still to come."""
        return Cursor(self.claim.epoch, self.next_seq + (self._outcome is None))

    @property
    def has_ended(self) -> bool:
        """Whether Redis has acknowledged all, to `done`."""
        return self.transcript.is_done and not self.is_waiting and not self._is_stopped

    @property
    def is_gathering(self) -> bool:
        """Whether deltas are gathered that a flush would make events of."""
        return self.is_open and self._batcher.is_gathering

    def gather(self, content: Content) -> None:
        """Take a delta of the model's."""
        self._put(self._batcher.add(content))
        if self._batcher.is_gathering:
            self._notice(self)

    def write(self, event: AnyEvent) -> None:
        """Put an event behind everything that has been gathered."""
        self._put([*self._batcher.end(), event])

    def flush(self) -> None:
        """Make events of what is gathered; half a character waits for its other half."""
        self._put(self._batcher.flush())

    def conclude(self, outcome: Outcome) -> None:
        """Put the outcome; only a title and suggestions may follow, and the end."""
        self._outcome = outcome
        self.write(outcome)

    def whole(self) -> Transcript:
        """Return what a reader will have once everything is in the log that has been put, or gathered, so far."""
        self._put(self._batcher.end())
        transcript = self.transcript.copy()
        for queued in self._queue:
            transcript.apply(queued.event)
        return transcript

    def end(self, outcome: Outcome) -> None:
        """Put the outcome, unless it has been concluded with, and `done`; nothing is taken after that."""
        if self._outcome is None:
            self.conclude(outcome)
        self._put([Done(status_after(outcome))])
        self.is_open = False

    def stop(self, why: str) -> None:
        """Forget what is queued, take nothing more, and stop the generation without a word."""
        self.is_open = False
        self._is_stopped = True
        self._queue.clear()
        self._bytes = 0
        self._has_room.set()
        self._is_empty.set()
        self.interrupt.strike(HoldLost(why))

    def wait_for_room(self) -> None:
        """Wait until the queue is within its bound: this is how Redis's pace reaches the model's stream."""
        if not self._has_room.is_set():
            self._has_room.wait()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all is in the log, or given up; False where the time was too short."""
        return self._is_empty.wait(seconds)

    def head(self, events: int, size: int) -> list[Append]:
        """Return the oldest unacknowledged events, at least one, at most so many, about so many bytes."""
        appends: list[Append] = []
        for queued in self._queue:
            is_settled = self.settled_by == self.claim and isinstance(queued.event, Done)
            appends.append(Append(self.claim, queued.seq, kind_of(queued.event), queued.data, is_settled))
            size -= len(queued.data)
            if len(appends) >= events or size <= 0:
                break
        return appends

    def acknowledge(self) -> None:
        """Take note that the oldest event is in the log."""
        self.heard_at = time.monotonic()
        queued = self._queue.popleft()
        self._bytes -= len(queued.data) + EVENT_BYTES
        self.transcript.apply(queued.event)
        self._show_level()

    def refused(self) -> None:
        """Give up the oldest event, which Redis will never take: end with an error in its place, or else stop."""
        if self._is_refused or self.transcript.outcome is not None:
            self.stop("refused")
            return
        self._is_refused = True
        self.settled_by = None
        self.is_open = False
        failure = GenerationFailed("internal", retryable=True)
        error = Error(failure.code, failure.message, retryable=failure.retryable)
        self._renumber(self._queue[0].seq, [error, Done(status_after(error))])
        self.interrupt.strike(HoldLost("refused"))

    def reclaimed(self, again: Reclaimed) -> None:
        """Go on under a new claim, after Redis lost entries: say what the text is, then send what was on its way."""
        self.claim = again.claim
        told = [self.transcript.snapshot("lost"), *self._told_ending()]
        # Where this very thing was under way when Redis lost entries once more, it is on its way already.
        events = [*told, *(queued.event for queued in self._queue if queued.event not in told)]
        if again.has_outcome:
            events = [event for event in events if isinstance(event, Title | Suggestions | Done)]
        self._renumber(again.top.seq + 1, events)

    def _told_ending(self) -> list[AnyEvent]:
        """Return the acknowledged events that come after all content."""
        told = self.transcript
        if told.outcome is None:
            return []
        title = [Title(told.title)] if told.title is not None else []
        suggestions = [Suggestions(told.suggestions)] if told.suggestions is not None else []
        return [told.outcome, *title, *suggestions, *([Done(status_after(told.outcome))] if told.is_done else [])]

    def _renumber(self, seq: int, events: Sequence[AnyEvent]) -> None:
        self._queue.clear()
        self._bytes = 0
        self.next_seq = seq
        self._enqueue(events)
        self._show_level()

    def _put(self, events: Sequence[AnyEvent]) -> None:
        if events and self.is_open:
            self._enqueue(events)

    def _enqueue(self, events: Sequence[AnyEvent]) -> None:
        if not self._queue:
            self.heard_at = time.monotonic()
        for event in events:
            queued = _Queued(self.next_seq, event, encode(event))
            self._queue.append(queued)
            self._bytes += len(queued.data) + EVENT_BYTES
            self.next_seq += 1
        self._show_level()
        self._notice(self)

    def _show_level(self) -> None:
        if not self._queue:
            self._is_empty.set()
            self._has_room.set()
            return
        self._is_empty.clear()
        # One event alone is always let in, whatever its size.
        if len(self._queue) > 1 and self._bytes >= self._buffer_bytes:
            self._has_room.clear()
        else:
            self._has_room.set()
