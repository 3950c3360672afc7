"""The newest part of one log, shared by all its readers in this process. No I/O of its own: it is fed and asked.

A tail's frames are numbered from 0 on; the ring holds the newest of them, and a reader's `place` is the number of
its next one. Readers are in one of four conditions: live (at the end, and written to as events come), full (they say
when there is room again), seeking (their cursor is not in the ring; a page of the log will bring them there), or gone.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from millrace.webapp.relay.frame_buffer import FrameBuffer
from millrace.webapp.relay.frames import Frame, cursor_in, frame_of, is_done, join, make_frame
from millrace.webapp.relay.reader import UNPLACED, Reader, write_to_all
from millrace.worker.contract.events import DONE_PREFIX
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

_AT_ONCE = 64  # frames joined for one send to a reader that catches up
_NO_MESSAGE = b"\n"  # what no message begins with


class Tail:
    """Delivers to its readers; `wake` is called when the log has to be read for them, `on_left` when one has gone."""

    def __init__(
        self,
        generation: str,
        channel: bytes,
        wake: Callable[["Tail"], None],
        on_left: Callable[[Reader], None],
    ) -> None:
        now = time.monotonic()
        self.generation = generation
        self.channel = channel
        self.cancels_unwatched = False
        self.is_done = False
        self.is_lost = False
        self.is_unstored = False  # Redis has lost it, and the database was asked and does not have it
        self.is_stale = False  # the log may have more than this, or less
        self.claimed: Cursor | None = None  # the newest event heard of that did not fit
        self.heard_at = self.checked_at = self.idle_since = now
        self.absent_since: float | None = None
        self.readers: set[Reader] = set()
        self.seekers: set[Reader] = set()
        self._live: set[Reader] = set()
        self._ring = FrameBuffer()
        self._fresh: list[Frame] = []
        self._is_open = False
        self._epoch = self._seq = 0  # of the last event
        self._sent_epoch = self._sent_seq = 0  # of the last that was sent to the live readers
        self._awaited = _NO_MESSAGE  # how the message of the next event begins, in the same epoch
        self._wake = wake
        self._on_left = on_left

    @property
    def last(self) -> Cursor | None:
        """The last event's cursor; None until a read of the log has opened the tail."""
        return Cursor(self._epoch, self._seq) if self._is_open else None

    @property
    def before(self) -> Cursor:
        """The cursor after which what the tail has begins."""
        return self._ring.before

    @property
    def is_behind(self) -> bool:
        """Whether the log has to be read on from the last event."""
        return self.is_stale or (self.claimed is not None and self.last is not None and self.claimed > self.last)

    @property
    def needs_log(self) -> bool:
        """Whether there is something to be read from the log for somebody."""
        return bool(self.readers) and (bool(self.seekers) or (self._is_open and self.is_behind))

    def add(self, reader: Reader) -> None:
        """Let a reader follow from its cursor."""
        reader.host = self
        self.readers.add(reader)
        self.resume(reader)

    def remove(self, reader: Reader) -> None:
        """Forget a reader."""
        if reader in self._live:
            self._unlive(reader)
        self.readers.discard(reader)
        self.seekers.discard(reader)
        if not self.readers:
            self.idle_since = time.monotonic()
        self._on_left(reader)

    def resume(self, reader: Reader) -> None:
        """Go on with a reader that has room: from the ring, or, where the ring has moved on, from the log."""
        if reader in self._live:
            return
        if reader.place >= self._ring.start or self.find(reader):
            self._advance(reader)
        else:
            self.seek(reader)

    def seek(self, reader: Reader) -> None:
        """Have the log read for a reader."""
        reader.place = UNPLACED
        self.seekers.add(reader)
        self._wake(self)

    def find(self, reader: Reader) -> bool:
        """Place a reader by its cursor; False where the ring does not go on from there."""
        if not self._is_open:
            return False
        place = self._ring.end if reader.cursor == self.last else self._ring.number_after(reader.cursor)
        reader.place = UNPLACED if place is None else place
        return place is not None

    def place_seekers(self) -> None:
        """Go on with the seekers that the ring can serve by now."""
        for reader in tuple(self.seekers):
            if self.find(reader):
                self.seekers.discard(reader)
                self._advance(reader)

    def give(self, reader: Reader, frames: list[Frame]) -> None:
        """Hand a seeker a page of the log."""
        for begin in range(0, len(frames), _AT_ONCE):
            part = frames[begin : begin + _AT_ONCE]
            taken = reader.take(part, join(part))
            self._took(reader, part, taken)
            if taken < len(part) or reader.is_full or reader.ended_because:
                self.seekers.discard(reader)
                return

    def open(self, before: Cursor) -> None:
        """Begin after this cursor, from which the log goes on."""
        self._is_open = True
        self._ring.before = before
        self._stand_at(before)
        self._sent_epoch, self._sent_seq = before

    def receive(self, message: bytes) -> bool:
        """Take a live message, `<epoch>-<seq> <JSON>`; what was taken goes out with `flush`.

        False where it does not follow the last event, so that `is_behind` may be true.
        """
        if not message.startswith(self._awaited):
            epoch, _, rest = message.partition(b"-")
            cursor = Cursor(int(epoch), int(rest.partition(b" ")[0]))
            if self.claimed is None or cursor > self.claimed:
                self.claimed = cursor
            return False
        is_done = message.startswith(DONE_PREFIX, len(self._awaited))
        self._seq += 1
        self._awaited = _NO_MESSAGE if is_done else b"%d-%d " % (self._epoch, self._seq + 1)
        self.is_done = is_done
        self._push(frame_of(message))
        return True

    def extend(self, entries: Iterable[LogEntry]) -> None:
        """Append what the log has after the last event, and deliver it; what is older is dropped."""
        for entry in entries:
            if self._is_open and entry.cursor > (self._epoch, self._seq):
                self._stand_at(entry.cursor)
                self.is_done = entry.data.startswith(DONE_PREFIX)
                self._push(make_frame(entry))
        self.flush()

    def prepend(self, before: Cursor, entries: list[LogEntry]) -> None:
        """Put the entries between `before` and the ring's begin into the ring, as far as there is room."""
        for entry in reversed(entries):
            if not self._ring.prepend(make_frame(entry)):
                self._ring.before = entry.cursor
                return
        self._ring.before = before

    def replace(self, entries: list[LogEntry]) -> None:
        """Begin anew: the first entry is a snapshot that stands for all before it, whatever readers have."""
        self._deliver([make_frame(entries[0])])
        self._ring.begin_anew()
        self.claimed, self.is_done, self.is_stale = None, False, True  # what came while they were read is in the log
        self.open(entries[0].cursor)
        self.extend(entries[1:])

    def flush(self) -> None:
        """Write to the live readers what was received since."""
        if self._fresh:
            self.heard_at = time.monotonic()
            fresh, self._fresh = self._fresh, []
            self._deliver(fresh)
            if self.is_done:
                self.end()

    def end(self) -> None:
        """Note that nothing will follow the last event, and let those who have it go."""
        self.is_done = True
        self._awaited = _NO_MESSAGE
        for reader in tuple(self._live):
            reader.finish("done")

    def lose(self) -> None:
        """Give the log up: everybody becomes a seeker, to be told so."""
        self.is_lost = True
        for reader in tuple(self._live):
            self._unlive(reader)
            self.seek(reader)
        self._wake(self)

    def _stand_at(self, cursor: Cursor) -> None:
        self._epoch, self._seq = cursor
        self._awaited = b"%d-%d " % (self._epoch, self._seq + 1)

    def _push(self, frame: Frame) -> None:
        self._fresh.append(frame)
        self._ring.append(frame)

    def _deliver(self, frames: Sequence[Frame]) -> None:
        """Write to the live readers; the frames are the newest of the ring, or come in place of all of it."""
        for reader, written in write_to_all(self._live, join(frames)):
            self._live.discard(reader)
            reader.cursor = Cursor(self._sent_epoch, self._sent_seq)
            self._settle(reader, frames, reader.take_rest(frames, written))
        self._sent_epoch, self._sent_seq = self._epoch, self._seq

    def _settle(self, reader: Reader, frames: Sequence[Frame], taken: int) -> None:
        """Note how far a reader has come that did not take all at once; some still have room."""
        reader.place = self._ring.end - len(frames) + taken
        self._took(reader, frames, taken)
        if taken == len(frames) and not reader.is_full and not reader.ended_because:
            self._live.add(reader)

    def _advance(self, reader: Reader) -> None:
        while not reader.ended_because:
            frames = self._ring.run(reader.place, _AT_ONCE)
            if not frames:
                self._live.add(reader)
                if self.is_done:
                    reader.finish("done")
                return
            taken = reader.take(frames, join(frames))
            reader.place += taken
            self._took(reader, frames, taken)
            if reader.is_full:
                return

    def _took(self, reader: Reader, frames: Sequence[Frame], taken: int) -> None:
        if taken:
            reader.cursor = cursor_in(frames[taken - 1])
            if is_done(frames[taken - 1]):
                reader.finish("done")

    def _unlive(self, reader: Reader) -> None:
        self._live.discard(reader)
        reader.cursor = Cursor(self._epoch, self._seq)
