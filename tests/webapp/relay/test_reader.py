"""Readers that a greenlet empties, and the loop that writes to all readers."""

import errno

from millrace.webapp.relay.frames import Frame, join, make_frame
from millrace.webapp.relay.reader import PullReader, Reader, write_to_all
from millrace.worker.contract.events import Chunk, encode
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import LogEntry

FRAMES = [make_frame(LogEntry(Cursor(1, seq), encode(Chunk("x" * 10_000)))) for seq in range(1, 11)]


class RecordingSource:
    """A source that records the readers that have room again, and those that were closed."""

    def __init__(self) -> None:
        self.resumed: list[Reader] = []
        self.removed: list[Reader] = []

    def resume(self, reader: Reader, /) -> None:
        self.resumed.append(reader)

    def remove(self, reader: Reader, /) -> None:
        self.removed.append(reader)


def take(reader: Reader, frames: list[Frame]) -> int:
    return reader.take(frames, join(frames))


def test_full_pull_reader_accepts_nothing_until_it_is_emptied() -> None:
    reader, source = PullReader("g", START), RecordingSource()
    reader.source = source
    assert [take(reader, [frame]) for frame in FRAMES] == [1] * 7 + [0] * 3
    assert not source.resumed
    assert reader.pull(0.0) == FRAMES[:7]
    assert source.resumed == [reader]
    assert take(reader, FRAMES) == 10, "one run of frames is accepted whole"


def test_finished_pull_reader_is_over_after_its_last_frame() -> None:
    reader = PullReader("g", START)
    take(reader, FRAMES[:2])
    reader.finish("drained", b"retry: 1\n\n")
    assert take(reader, FRAMES[2:]) == 0
    assert not reader.is_over
    assert reader.render(reader.pull(0.0)) == FRAMES[0].body + FRAMES[1].body
    assert reader.is_over
    assert (reader.end_reason, reader.render_end()) == ("drained", b"retry: 1\n\n")


def test_stalled_pull_reader_ends_the_send_that_blocks_it() -> None:
    calls: list[str] = []
    reader = PullReader("g", START, lambda: calls.append("shut"))
    reader.cut()
    assert (reader.end_reason, calls) == ("stalled", ["shut"])


def test_write_to_all_returns_only_incomplete_writes() -> None:
    class Stub(PullReader):
        def __init__(self, result: int | OSError) -> None:
            super().__init__("g", START)
            self._result = result
            self.write = self._write

        def _write(self, _: bytes) -> int:
            if isinstance(self._result, OSError):
                raise self._result
            return self._result

    full = OSError(errno.EAGAIN, "no room")
    complete, partial, failed = Stub(3), Stub(1), Stub(full)
    assert sorted(write_to_all({complete, partial, failed}, b"abc"), key=lambda each: each[0] is failed) == [
        (partial, 1),
        (failed, full),
    ]
