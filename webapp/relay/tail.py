"""The newest part of one log, shared by all its readers in this process. No I/O of its own: it is fed and asked.

A tail's frames are numbered from 0 on; the ring holds the newest of them, and a reader's `place` is the number of
its next one. Readers are in one of four conditions: live (at the end, and with room), full (they say when there is
room again), seeking (their cursor is not in the ring; a page of the log will bring them there), or gone.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from webapp.relay.frames import Frame, join, make_frame
from webapp.relay.reader import UNPLACED, Reader
from worker.contract.ids import Cursor
from worker.contract.log import Entry

RING_BYTES = 256 * 1024
_RING_FRAMES = 2048
_FIRST = 1 << 32  # older frames may be put before it
_AT_ONCE = 64  # frames joined for one send to a reader that catches up


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
        self.last: Cursor | None = None  # None until a read of the log has opened it
        self.is_done = False
        self.is_lost = False
        self.is_stale = False  # the log may have more than this, or less
        self.claimed: Cursor | None = None  # the newest event heard of that did not fit
        self.heard_at = self.checked_at = self.idle_since = now
        self.absent_since: float | None = None
        self.readers: set[Reader] = set()
        self.seekers: set[Reader] = set()
        self._live: set[Reader] = set()
        self._ring: deque[Frame] = deque()
        self._ring_bytes = 0
        self._start = _FIRST  # the number of the ring's first frame
        self.before = Cursor(0, 0)  # the cursor that the ring begins after
        self._fresh: list[Frame] = []
        self._wake = wake
        self._on_left = on_left

    @property
    def is_behind(self) -> bool:
        """Whether the log has to be read on from the last event."""
        return self.is_stale or (self.claimed is not None and self.last is not None and self.claimed > self.last)

    @property
    def needs_log(self) -> bool:
        """Whether there is something to be read from the log for somebody."""
        return bool(self.readers) and (bool(self.seekers) or (self.last is not None and self.is_behind))

    def add(self, reader: Reader) -> None:
        """Let a reader follow from its cursor."""
        reader.on_room, reader.on_gone = self.resume, self.remove
        self.readers.add(reader)
        self.resume(reader)

    def remove(self, reader: Reader) -> None:
        """Forget a reader."""
        self.readers.discard(reader)
        self.seekers.discard(reader)
        self._live.discard(reader)
        if not self.readers:
            self.idle_since = time.monotonic()
        self._on_left(reader)

    def resume(self, reader: Reader) -> None:
        """Go on with a reader that has room: from the ring, or, where the ring has moved on, from the log."""
        if reader.place >= self._start or self.find(reader):
            self._advance(reader)
        else:
            self.seek(reader)

    def seek(self, reader: Reader) -> None:
        """Have the log read for a reader."""
        reader.place = UNPLACED
        self._live.discard(reader)
        self.seekers.add(reader)
        self._wake(self)

    def find(self, reader: Reader) -> bool:
        """Place a reader by its cursor; False where the ring does not go on from there."""
        cursor = reader.cursor
        if self.last is None:
            return False
        if cursor == self.last:
            reader.place = self._start + len(self._ring)
        elif cursor == self.before:
            reader.place = self._start
        else:
            index = bisect_left(self._ring, cursor, key=_cursor)
            if index == len(self._ring) or self._ring[index].cursor != cursor:
                return False
            reader.place = self._start + index + 1
        return True

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
            if taken < len(part) or reader.is_full or reader.ended_because:
                self.seekers.discard(reader)
                return

    def open(self, before: Cursor) -> None:
        """Begin after this cursor, from which the log goes on."""
        self.last = self.before = before

    def receive(self, cursor: Cursor, data: bytes) -> bool:
        """Take a live message; False where it does not follow the last event, so that `is_behind` may be true.

        What was taken goes out with `flush`.
        """
        last = self.last
        if last is not None and last.epoch == cursor.epoch and cursor.seq == last.seq + 1 and not self.is_done:
            self._push(make_frame(cursor, data))
            return True
        if self.claimed is None or cursor > self.claimed:
            self.claimed = cursor
        return False

    def extend(self, entries: Iterable[Entry]) -> None:
        """Append what the log has after the last event, and deliver it; what is older is dropped."""
        for entry in entries:
            if self.last is not None and entry.cursor > self.last:
                self._push(_frame(entry))
        self.flush()

    def prepend(self, before: Cursor, entries: list[Entry]) -> None:
        """Put the entries between `before` and the ring's begin into the ring, as far as there is room."""
        for frame in map(_frame, reversed(entries)):
            if self._ring_bytes + len(frame.chunk) > RING_BYTES or len(self._ring) >= _RING_FRAMES:
                self.before = frame.cursor
                return
            self._ring.appendleft(frame)
            self._ring_bytes += len(frame.chunk)
            self._start -= 1
        self.before = before

    def replace(self, entries: list[Entry]) -> None:
        """Begin anew: the first entry is a snapshot that stands for all before it, whatever readers have."""
        snapshot = _frame(entries[0])
        self._start += len(self._ring) + _RING_FRAMES + 1  # places given before lie outside the ring from now on
        self._ring.clear()
        self._ring_bytes = 0
        self.last = self.before = snapshot.cursor
        self.claimed, self.is_done, self.is_stale = None, False, False
        self._deliver([snapshot], missed=UNPLACED)
        self.extend(entries[1:])

    def flush(self) -> None:
        """Write to the live readers what was received since."""
        if self._fresh:
            self.heard_at = time.monotonic()
            fresh, self._fresh = self._fresh, []
            self._deliver(fresh, missed=self._start + len(self._ring) - len(fresh))

    def end(self) -> None:
        """Note that nothing will follow the last event, and let those who have it go."""
        self.is_done = True
        for reader in tuple(self._live):
            reader.finish("done")

    def lose(self) -> None:
        """Give the log up: everybody becomes a seeker, to be told so."""
        self.is_lost = True
        for reader in tuple(self._live):
            self.seek(reader)
        self._wake(self)

    def _push(self, frame: Frame) -> None:
        self.last = frame.cursor
        self.is_done = frame.is_done
        self._fresh.append(frame)
        self._ring.append(frame)
        self._ring_bytes += len(frame.chunk)
        while self._ring_bytes > RING_BYTES or len(self._ring) > _RING_FRAMES:
            oldest = self._ring.popleft()
            self._ring_bytes -= len(oldest.chunk)
            self.before = oldest.cursor
            self._start += 1

    def _deliver(self, frames: list[Frame], missed: int) -> None:
        """Write to the live readers; `missed` is the place of the first frame, for those who do not get all."""
        payload = join(frames)
        for reader in tuple(self._live):
            taken = reader.take(frames, payload)
            if taken < len(frames) or reader.is_full or reader.ended_because:
                self._live.discard(reader)
                reader.place = missed + taken if missed != UNPLACED else UNPLACED

    def _advance(self, reader: Reader) -> None:
        while not reader.ended_because:
            index = reader.place - self._start
            frames = list(islice(self._ring, index, index + _AT_ONCE))
            if not frames:
                self._live.add(reader)
                if self.is_done:
                    reader.finish("done")
                return
            reader.place += reader.take(frames, join(frames))
            if reader.is_full:
                return


def _frame(entry: Entry) -> Frame:
    return make_frame(entry.cursor, entry.data)


def _cursor(frame: Frame) -> Cursor:
    return frame.cursor
