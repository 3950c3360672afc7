"""The newest frames of one log, numbered consecutively, bounded in number and bytes."""

from bisect import bisect_left
from collections import deque
from itertools import islice

from millrace.webapp.relay.frames import Frame
from millrace.worker.contract.ids import Cursor

BUFFER_BYTES = 256 * 1024
_BUFFER_FRAMES = 2048
_FIRST = 1 << 32  # leaves numbers for older frames that are put in front


def _cursor(frame: Frame) -> tuple[int, int]:
    return frame.epoch, frame.seq


class FrameBuffer:
    """Frames numbered from `start` up to, but not including, `end`; `before` is the cursor that precedes the first."""

    def __init__(self) -> None:
        self.start = _FIRST
        self.before = Cursor(0, 0)
        self.frames: deque[Frame] = deque()
        self.is_bounded = True
        self.shares = 1  # multiplies the bounds
        self._bytes = 0

    @property
    def end(self) -> int:
        """The number of the next frame."""
        return self.start + len(self.frames)

    def append(self, frame: Frame) -> None:
        """Append a frame, and drop the oldest ones while the buffer has bounds and is over them."""
        self.frames.append(frame)
        self._bytes += len(frame.payload)
        most_bytes, most_frames = BUFFER_BYTES * self.shares, _BUFFER_FRAMES * self.shares
        while self.is_bounded and (self._bytes > most_bytes or len(self.frames) > most_frames):
            oldest = self.frames.popleft()
            self._bytes -= len(oldest.payload)
            self.before = oldest.cursor
            self.start += 1

    def prepend(self, frame: Frame) -> bool:
        """Put a frame before the first one; return False if there is no room. The caller sets `before`."""
        if self._bytes + len(frame.payload) > BUFFER_BYTES or len(self.frames) >= _BUFFER_FRAMES:
            return False
        self.frames.appendleft(frame)
        self._bytes += len(frame.payload)
        self.start -= 1
        return True

    def reset(self) -> None:
        """Drop all frames; numbers given out before are out of range from now on."""
        self.start += len(self.frames) + _BUFFER_FRAMES + 1
        self.frames.clear()
        self._bytes = 0

    def slice(self, number: int, limit: int) -> list[Frame]:
        """Return at most `limit` frames, beginning with the one of this number."""
        index = number - self.start
        return list(islice(self.frames, index, index + limit))

    def number_after(self, cursor: Cursor) -> int | None:
        """Return the number of the frame that follows the event with this cursor; None if that event is not held."""
        if cursor == self.before:
            return self.start
        index = bisect_left(self.frames, cursor, key=_cursor)
        if index == len(self.frames) or _cursor(self.frames[index]) != cursor:
            return None
        return self.start + index + 1
