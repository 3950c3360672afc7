"""The newest frames of one log, numbered one by one, bounded in number and bytes."""

from bisect import bisect_left
from collections import deque
from itertools import islice

from millrace.webapp.relay.frames import Frame, cursor_in
from millrace.worker.contract.ids import Cursor

RING_BYTES = 256 * 1024
_RING_FRAMES = 2048
_FIRST = 1 << 32  # older frames may be put before it


class FrameBuffer:
    """Frames with the numbers `start` to `end`, excluded; `before` is the cursor that they begin after."""

    def __init__(self) -> None:
        self.start = _FIRST
        self.before = Cursor(0, 0)
        self.frames: deque[Frame] = deque()
        self._bytes = 0

    @property
    def end(self) -> int:
        """The number of the next frame."""
        return self.start + len(self.frames)

    def append(self, frame: Frame) -> None:
        """Put a frame at the end, and let the oldest go where there is no room for all."""
        self.frames.append(frame)
        self._bytes += len(frame)
        while self._bytes > RING_BYTES or len(self.frames) > _RING_FRAMES:
            oldest = self.frames.popleft()
            self._bytes -= len(oldest)
            self.before = cursor_in(oldest)
            self.start += 1

    def prepend(self, frame: Frame) -> bool:
        """Put a frame before the first; False where there is no room. `before` is the caller's to set."""
        if self._bytes + len(frame) > RING_BYTES or len(self.frames) >= _RING_FRAMES:
            return False
        self.frames.appendleft(frame)
        self._bytes += len(frame)
        self.start -= 1
        return True

    def begin_anew(self) -> None:
        """Drop everything; numbers given before lie outside from now on."""
        self.start += len(self.frames) + _RING_FRAMES + 1
        self.frames.clear()
        self._bytes = 0

    def run(self, number: int, most: int) -> list[Frame]:
        """Return at most so many frames from the one with this number on."""
        index = number - self.start
        return list(islice(self.frames, index, index + most))

    def number_after(self, cursor: Cursor) -> int | None:
        """Return the number of the frame that follows the event with this cursor; None where that event is not in."""
        if cursor == self.before:
            return self.start
        index = bisect_left(self.frames, cursor, key=cursor_in)
        if index == len(self.frames) or cursor_in(self.frames[index]) != cursor:
            return None
        return self.start + index + 1
