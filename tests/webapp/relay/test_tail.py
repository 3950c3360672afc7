"""The tail and its repair against a model: a growing log whose messages are lost, duplicated or late."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.webapp.relay.frame_buffer import BUFFER_BYTES
from millrace.webapp.relay.frames import Frame, make_frame
from millrace.webapp.relay.reader import EndReason, Reader
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.events import Chunk, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from tests.webapp.relay.wire_format import cursor_in, split


class RecordingReader(Reader):
    """A reader that records the cursors it accepts, and has room for `room` frames.

    With `is_cut` a write may end inside a frame, which then counts as accepted.
    """

    def __init__(self, cursor: Cursor, room: int = 1_000_000, *, is_cut: bool = False) -> None:
        super().__init__("g", cursor)
        self.write = self._write
        self.room = room
        self.taken: list[Cursor] = []
        self._is_cut = is_cut

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        assert not isinstance(written, OSError)
        sizes = [len(frame.payload) for frame in frames]
        whole = sum(end <= written for end in accumulate(sizes))
        count = whole + (written > sum(sizes[:whole]))
        self.taken += [frame.cursor for frame in frames[whole:count]]
        self.is_full = True
        return count

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        self.close(why)

    def close(self, why: EndReason) -> None:
        self.end_reason = why
        self.source.remove(self)

    def _write(self, payload: bytes) -> int:
        assert not self.end_reason
        frames = [] if self.is_full else list(split(payload))
        whole = frames[: self.room]
        self.room -= len(whole)
        self.taken += map(cursor_in, whole)
        written = len(b"".join(whole))
        return written + (self._is_cut and written < len(payload) and not self.is_full)


def entry(cursor: Cursor) -> LogEntry:
    return LogEntry(cursor, encode(Chunk("x" * 100)))


def repair(tail: Tail, log: list[LogEntry]) -> None:
    """Serve the tail as the repairer does, from a log that loses nothing."""
    while tail.needs_log:
        if tail.last is not None and tail.is_behind:
            tail.is_stale = False
            tail.extend(log)  # a page may contain events that were received live in the meantime
            tail.resume_lagging()
            continue
        tail.resume_lagging()
        if tail.lagging:
            start = min(reader.cursor for reader in tail.lagging)
            page = [each for each in log if each.cursor > start][:7]
            if tail.last is None and len(page) < 7:
                tail.open(start)
                tail.extend(page)
            tail.resume_lagging()
            for reader in tuple(tail.lagging):
                after = [each for each in page if each.cursor > reader.cursor]
                if reader.cursor >= start and reader.cursor <= (page[-1].cursor if page else start):
                    tail.send_page(reader, list(map(make_frame, after)))
            if tail.last is not None and not page and tail.lagging:
                tail.is_stale = True


def ignore(_: object) -> None:
    pass


STEPS = st.lists(
    st.sampled_from(
        ["write", "write", "write", "lose", "double", "stale", "join", "join_old", "room", "repair", "leave"]
    ),
    max_size=120,
)


@settings(max_examples=300)
@given(STEPS, st.randoms(use_true_random=False))
def test_every_reader_gets_the_log_in_order_without_hole_or_duplicate(steps: list[str], chance: random.Random) -> None:
    log = [entry(Cursor(0, 1))]
    tail = Tail("g", b"c", ignore, ignore)
    readers: list[tuple[Cursor, RecordingReader]] = []

    def join(cursor: Cursor) -> None:
        reader = RecordingReader(cursor, chance.choice([1, 3, 50]), is_cut=chance.choice([True, False]))
        readers.append((cursor, reader))
        tail.add(reader)

    def receive(message: LogEntry) -> None:
        tail.receive(f"{message.cursor} ".encode() + message.data)

    def write(step: str) -> None:
        last = log[-1].cursor
        log.append(entry(Cursor(last.epoch + chance.choice([0, 0, 0, 0, 5]), last.seq + 1)))
        for _ in range({"write": 1, "lose": 0, "double": 2}[step]):
            receive(log[-1])

    def leave() -> None:
        if readers:
            readers[chance.randrange(len(readers))][1].close("client_left")

    does: dict[str, Callable[[], None]] = {
        "stale": lambda: receive(chance.choice(log)),
        "join": lambda: join(log[-1].cursor),
        "join_old": lambda: join(chance.choice(log).cursor),
        "room": lambda: make_room(tail, [reader for _, reader in readers]),
        "repair": lambda: repair(tail, log),
        "leave": leave,
    }
    for step in steps:
        if step in does:
            tail.flush()  # the messages of one batch are delivered before anything else happens
            does[step]()
        else:
            write(step)
    tail.flush()
    finish(tail, log, [reader for _, reader in readers])
    order = [each.cursor for each in log]
    for begun, reader in readers:
        expected = order[order.index(begun) + 1 :]
        assert reader.taken == (expected if not reader.end_reason else expected[: len(reader.taken)])


def make_room(tail: Tail, readers: list[RecordingReader], room: int = 5) -> None:
    for reader in readers:
        if reader.is_full and not reader.end_reason:
            reader.room, reader.is_full = room, False
            tail.resume(reader)


def finish(tail: Tail, log: list[LogEntry], readers: list[RecordingReader]) -> None:
    tail.is_stale = True
    repair(tail, log)
    while any(reader.is_full and not reader.end_reason for reader in readers):
        make_room(tail, readers)
        repair(tail, log)


def test_buffer_is_bounded_and_a_reader_behind_it_needs_the_log() -> None:
    requests: list[Tail] = []
    tail = Tail("g", b"c", requests.append, ignore)
    tail.open(Cursor(1, 0))
    slow = RecordingReader(Cursor(1, 0), room=1)
    tail.add(slow)
    for seq in range(1, 400):
        assert tail.receive(b"1-%d %b" % (seq, encode(Chunk("x" * 2000))))
        tail.flush()
    assert sum(len(frame.payload) for frame in tail._buffer.frames) <= BUFFER_BYTES
    make_room(tail, [slow])
    assert tail.lagging == {slow}
    assert requests


def test_snapshot_goes_to_live_readers_and_full_ones_need_the_log() -> None:
    tail = Tail("g", b"c", ignore, ignore)
    tail.open(Cursor(1, 0))
    live, full = RecordingReader(Cursor(1, 0)), RecordingReader(Cursor(1, 0), room=1)
    tail.add(live)
    tail.add(full)
    tail.extend([entry(Cursor(1, 1)), entry(Cursor(1, 2))])
    tail.replace([entry(Cursor(7, 1)), entry(Cursor(7, 2))])
    tail.extend_backwards(Cursor(6, 5), [entry(Cursor(7, 0)), entry(Cursor(7, 1))])
    assert live.taken == [Cursor(1, 1), Cursor(1, 2), Cursor(7, 1), Cursor(7, 2)]
    make_room(tail, [full])
    assert tail.lagging == {full}
    assert all(former < later for former, later in pairwise(frame.cursor for frame in tail._buffer.frames))
