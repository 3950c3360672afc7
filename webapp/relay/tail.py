"""The newest part of one log, shared by all its readers in this process. It does no I/O on Redis itself.

A tail's frames are numbered consecutively. The buffer holds the newest of them, and a reader's `position` is the
number of its next frame. A reader is in one of four conditions: live (it has every frame, and
is written to as events arrive), full (it notifies the tail when it has room again), lagging (its cursor is not in the
buffer, so pages of the log are sent to it until it is), or gone.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from millrace.webapp.relay.counts import RelayCounts
from millrace.webapp.relay.frame_buffer import FrameBuffer
from millrace.webapp.relay.frames import Frame, join, make_frame, payload_of
from millrace.webapp.relay.reader import NO_POSITION, Reader, write_to_all
from millrace.worker.contract.events import DONE_PREFIX, EVENT_PREFIX
from millrace.worker.contract.ids import Cursor, parse_cursor
from millrace.worker.contract.log import LogEntry, is_event

_FRAMES_PER_SEND = 64  # frames joined for one send to a reader that catches up
_CURSOR_BYTES = 22  # more than the longest cursor has
_LF, _CR, _BRACE = b"\n\r}"  # as numbers, a search for them costs a tenth
_NEXT_PREFIX = b"%d-%d " + EVENT_PREFIX
_EVENT_PREFIX_BYTES = len(EVENT_PREFIX)
_NO_MESSAGE = b"\n"  # no message begins with this


class Tail:
    """Delivers a log to its readers.

    `request_repair` is called when the log has to be read for the readers, `on_removed` after a reader has left.
    """

    def __init__(
        self,
        generation: str,
        channel: bytes,
        request_repair: Callable[["Tail"], None],
        on_removed: Callable[[Reader], None],
        counts: RelayCounts | None = None,
    ) -> None:
        now = time.monotonic()
        self.generation = generation
        self.channel = channel
        self.cancels_unwatched = False
        self.is_done = False
        self.is_lost = False
        self.is_unstored = False  # Redis has lost the log, and the database has no stored answer
        self.is_stale = False  # the log may have more or fewer events than this tail
        self.announced: Cursor | None = None  # the newest published event that was not appended
        self.delivered_at = self.checked_at = self.idle_since = now
        self.missing_since: float | None = None
        self.readers: set[Reader] = set()
        self.lagging: set[Reader] = set()
        self._live: set[Reader] = set()
        self._buffer = FrameBuffer()
        self._undelivered: list[Frame] = []
        self._is_open = False
        self._epoch = self._seq = 0  # of the last event
        self._sent_epoch = self._sent_seq = 0  # of the last event written to the live readers
        self._next_prefix = _NO_MESSAGE  # the beginning of the next event's message, in the same epoch
        self._request_repair = request_repair
        self._on_removed = on_removed
        self._counts = counts or RelayCounts()

    @property
    def last(self) -> Cursor | None:
        """The last event's cursor; None until a read of the log has opened the tail."""
        return Cursor(self._epoch, self._seq) if self._is_open else None

    @property
    def before(self) -> Cursor:
        """The cursor that precedes the first frame in the buffer."""
        return self._buffer.before

    def covers(self, cursor: Cursor) -> bool:
        """Return whether a reader with this cursor can be served from the buffer."""
        return cursor == self.last or self._buffer.number_after(cursor) is not None

    @property
    def is_behind(self) -> bool:
        """Whether the log has to be read from the last event on."""
        return self.is_stale or (self.announced is not None and self.last is not None and self.announced > self.last)

    @property
    def needs_log(self) -> bool:
        """Whether the log has to be read for at least one reader."""
        return bool(self.readers) and (bool(self.lagging) or (self._is_open and self.is_behind))

    def add(self, reader: Reader) -> None:
        """Deliver the events after the reader's cursor to it."""
        reader.source = self
        self.readers.add(reader)
        self.resume(reader)

    def remove(self, reader: Reader) -> None:
        """Forget a reader that was closed."""
        self.release(reader)
        self._on_removed(reader)

    def release(self, reader: Reader) -> None:
        """Stop delivering to a reader, which stays open; its cursor says where another source may go on."""
        if reader in self._live:
            self._remove_live(reader)
        self.readers.discard(reader)
        self.lagging.discard(reader)
        if not self.readers:
            self.idle_since = time.monotonic()

    def resume(self, reader: Reader) -> None:
        """Continue a reader that has room: from the buffer, or from the log if its next frame is no longer buffered."""
        if reader in self._live:
            return
        if reader.position >= self._buffer.start or self._locate(reader):
            self._catch_up(reader)
        else:
            self._mark_lagging(reader)

    def resume_lagging(self) -> None:
        """Continue the lagging readers that the buffer can serve now."""
        for reader in tuple(self.lagging):
            if self._locate(reader):
                self.lagging.discard(reader)
                self._catch_up(reader)

    def send_page(self, reader: Reader, frames: list[Frame]) -> None:
        """Send a page of the log to a lagging reader."""
        for begin in range(0, len(frames), _FRAMES_PER_SEND):
            part = frames[begin : begin + _FRAMES_PER_SEND]
            taken = reader.take(part, join(part))
            self._record_taken(reader, part, taken)
            if taken < len(part) or reader.is_full or reader.end_reason:
                self.lagging.discard(reader)
                return

    def open(self, before: Cursor) -> None:
        """Open the tail after this cursor; the next event in the log is its first."""
        self._is_open = True
        self._buffer.before = before
        self._set_last(before)
        self._sent_epoch, self._sent_seq = before

    def receive(self, message: bytes) -> bool:
        """Append a published message, `<epoch>-<seq> <JSON>`; `flush` delivers it.

        Returns False if it does not follow the last event, so that `is_behind` may be true. Any client of Redis can
        publish: a message that is no single event is ignored, and the log is read instead.
        """
        prefix = self._next_prefix
        if not message.startswith(prefix):
            cursor = _cursor_of(message)
            if cursor is None:
                self.is_stale = True
            elif self.announced is None or cursor > self.announced:
                self.announced = cursor
            return False
        if _LF in message or _CR in message or message[-1] != _BRACE:
            self.is_stale = True
            return False
        is_done = message.startswith(DONE_PREFIX, len(prefix) - _EVENT_PREFIX_BYTES)
        self._seq += 1
        self._next_prefix = _NO_MESSAGE if is_done else _NEXT_PREFIX % (self._epoch, self._seq + 1)
        self.is_done = is_done
        self._append(Frame(self._epoch, self._seq, payload_of(message), is_done))
        return True

    def extend(self, entries: Iterable[LogEntry]) -> None:
        """Append the log's entries after the last event, and deliver them; older entries are ignored."""
        for entry in entries:
            if self._is_open and entry.cursor > (self._epoch, self._seq):
                self._extend(make_frame(entry))
        self.flush()

    def append(self, frames: Iterable[Frame]) -> None:
        """Append frames that follow the last one, and deliver them."""
        for frame in frames:
            self._extend(frame)
        self.flush()

    def keep_for(self, readers: int, *, is_last: bool) -> None:
        """Keep more frames, in proportion to the readers; with `is_last` all those that follow, whatever their size."""
        self._buffer.shares = max(readers, 1)
        self._buffer.is_bounded = not is_last

    def extend_backwards(self, before: Cursor, entries: list[LogEntry]) -> None:
        """Put the entries between `before` and the first frame into the buffer, as far as there is room."""
        for entry in reversed(entries):
            if not self._buffer.prepend(make_frame(entry)):
                self._buffer.before = entry.cursor
                return
        self._buffer.before = before

    def replace(self, entries: list[LogEntry]) -> None:
        """Replace all frames: the first entry is a snapshot that supersedes everything before it."""
        self._deliver([make_frame(entries[0])])
        self._buffer.reset()
        # Events published while the entries were read are in the log, so it is read once more.
        self.announced, self.is_done, self.is_stale = None, False, True
        self.open(entries[0].cursor)
        self.extend(entries[1:])

    def flush(self) -> None:
        """Write the appended frames to the live readers."""
        if self._undelivered:
            self.delivered_at = time.monotonic()
            frames, self._undelivered = self._undelivered, []
            self._deliver(frames)
            if self.is_done:
                self.mark_done()

    def mark_done(self) -> None:
        """Record that nothing follows the last event, and end the readers that have it."""
        self.is_done = True
        self._next_prefix = _NO_MESSAGE
        for reader in tuple(self._live):
            reader.finish("done")

    def mark_lost(self) -> None:
        """Give up the log: every reader becomes lagging and gets the stored answer or `stream_lost`."""
        self.is_lost = True
        for reader in tuple(self._live):
            self._remove_live(reader)
            self._mark_lagging(reader)
        self._request_repair(self)

    def _mark_lagging(self, reader: Reader) -> None:
        reader.position = NO_POSITION
        self.lagging.add(reader)
        self._request_repair(self)

    def _locate(self, reader: Reader) -> bool:
        """Set a reader's position from its cursor; return False if the buffer does not continue from there."""
        if not self._is_open:
            return False
        position = self._buffer.end if reader.cursor == self.last else self._buffer.number_after(reader.cursor)
        reader.position = NO_POSITION if position is None else position
        return position is not None

    def _set_last(self, cursor: Cursor) -> None:
        self._epoch, self._seq = cursor
        self._next_prefix = _NEXT_PREFIX % (self._epoch, self._seq + 1)

    def _extend(self, frame: Frame) -> None:
        self._set_last(frame.cursor)
        self.is_done = frame.is_done
        self._append(frame)

    def _append(self, frame: Frame) -> None:
        self._undelivered.append(frame)
        self._buffer.append(frame)

    def _deliver(self, frames: Sequence[Frame]) -> None:
        """Write to the live readers; the frames are the newest of the buffer, or replace all of it."""
        payload = join(frames)
        incomplete = write_to_all(self._live, payload)
        complete = len(self._live) - len(incomplete)
        self._counts.sent_events += complete * len(frames)
        self._counts.sent_bytes += complete * len(payload)
        for reader, written in incomplete:
            self._live.discard(reader)
            reader.cursor = Cursor(self._sent_epoch, self._sent_seq)
            self._settle(reader, frames, reader.take_rest(frames, written))
        self._sent_epoch, self._sent_seq = self._epoch, self._seq

    def _settle(self, reader: Reader, frames: Sequence[Frame], taken: int) -> None:
        """Record the progress of a reader that did not accept everything in one write; it may still have room."""
        reader.position = self._buffer.end - len(frames) + taken
        self._record_taken(reader, frames, taken)
        if taken == len(frames) and not reader.is_full and not reader.end_reason:
            self._live.add(reader)

    def _catch_up(self, reader: Reader) -> None:
        while not reader.end_reason:
            frames = self._buffer.slice(reader.position, _FRAMES_PER_SEND)
            if not frames:
                self._live.add(reader)
                if self.is_done:
                    reader.finish("done")
                return
            taken = reader.take(frames, join(frames))
            reader.position += taken
            self._record_taken(reader, frames, taken)
            if reader.is_full:
                return

    def _record_taken(self, reader: Reader, frames: Sequence[Frame], taken: int) -> None:
        if taken:
            self._counts.sent_events += taken
            self._counts.sent_bytes += sum(len(frame.payload) for frame in frames[:taken])
            last = frames[taken - 1]
            reader.cursor = last.cursor
            if last.is_done:
                reader.finish("done")

    def _remove_live(self, reader: Reader) -> None:
        self._live.discard(reader)
        reader.cursor = Cursor(self._epoch, self._seq)


def _cursor_of(message: bytes) -> Cursor | None:
    """Return the cursor of a published event, None for anything else."""
    cursor, _, data = message.partition(b" ")
    return parse_cursor(cursor[:_CURSOR_BYTES].decode("ascii", "replace")) if is_event(data) else None
