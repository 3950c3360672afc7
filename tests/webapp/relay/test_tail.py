"""The tail and its repair against a model: a log that is written to, and messages that are lost, doubled or late."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.webapp.relay.frame_buffer import RING_BYTES
from millrace.webapp.relay.frames import Frame, cursor_in, make_frame, split
from millrace.webapp.relay.reader import Reader, Why
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.events import Chunk, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry


class Pen(Reader):
    """A reader that remembers what it took, and has room for so many frames; one that is cut in them takes it whole."""

    def __init__(self, cursor: Cursor, room: int = 1_000_000, *, is_cut: bool = False) -> None:
        super().__init__("g", cursor)
        self.write = self._write
        self.room = room
        self.taken: list[Cursor] = []
        self._is_cut = is_cut

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        assert not isinstance(written, OSError)
        whole = sum(end <= written for end in accumulate(map(len, frames)))
        count = whole + (written > sum(map(len, frames[:whole])))
        self.taken += map(cursor_in, frames[whole:count])
        self.is_full = True
        return count

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        self.close(why)

    def close(self, why: Why) -> None:
        self.ended_because = why
        self.host.remove(self)

    def _write(self, payload: bytes) -> int:
        assert not self.ended_because
        frames = [] if self.is_full else list(split(payload))
        whole = frames[: self.room]
        self.room -= len(whole)
        self.taken += map(cursor_in, whole)
        written = len(b"".join(whole))
        return written + (self._is_cut and written < len(payload) and not self.is_full)


def entry(cursor: Cursor) -> LogEntry:
    return LogEntry(cursor, encode(Chunk("x" * 100)))


def mend(tail: Tail, log: list[LogEntry]) -> None:
    """What the repairer does, on a log that never loses anything."""
    while tail.needs_log:
        if tail.last is not None and tail.is_behind:
            tail.is_stale = False
            tail.extend(log)  # a page may well hold what has come live meanwhile
            tail.place_seekers()
            continue
        tail.place_seekers()
        if tail.seekers:
            start = min(reader.cursor for reader in tail.seekers)
            page = [each for each in log if each.cursor > start][:7]
            if tail.last is None and len(page) < 7:
                tail.open(start)
                tail.extend(page)
            tail.place_seekers()
            for reader in tuple(tail.seekers):
                after = [each for each in page if each.cursor > reader.cursor]
                if reader.cursor >= start and reader.cursor <= (page[-1].cursor if page else start):
                    tail.give(reader, list(map(make_frame, after)))
            if tail.last is not None and not page and tail.seekers:
                tail.is_stale = True


def nobody(_: object) -> None:
    pass


STEPS = st.lists(
    st.sampled_from(
        ["write", "write", "write", "lose", "double", "stale", "join", "join_old", "room", "mend", "leave"]
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_every_reader_gets_the_log_in_order_without_hole_or_double(steps: list[str], chance: random.Random) -> None:
    log = [entry(Cursor(0, 1))]
    tail = Tail("g", b"c", nobody, nobody)
    pens: list[tuple[Cursor, Pen]] = []

    def join(cursor: Cursor) -> None:
        pen = Pen(cursor, chance.choice([1, 3, 50]), is_cut=chance.choice([True, False]))
        pens.append((cursor, pen))
        tail.add(pen)

    def receive(message: LogEntry) -> None:
        tail.receive(f"{message.cursor} ".encode() + message.data)

    def write(step: str) -> None:
        last = log[-1].cursor
        log.append(entry(Cursor(last.epoch + chance.choice([0, 0, 0, 0, 5]), last.seq + 1)))
        for _ in range({"write": 1, "lose": 0, "double": 2}[step]):
            receive(log[-1])

    def leave() -> None:
        if pens:
            pens[chance.randrange(len(pens))][1].close("client_left")

    does: dict[str, Callable[[], None]] = {
        "stale": lambda: receive(chance.choice(log)),
        "join": lambda: join(log[-1].cursor),
        "join_old": lambda: join(chance.choice(log).cursor),
        "room": lambda: make_room(tail, [pen for _, pen in pens]),
        "mend": lambda: mend(tail, log),
        "leave": leave,
    }
    for step in steps:
        if step in does:
            tail.flush()  # messages of one batch go out before anything else happens
            does[step]()
        else:
            write(step)
    tail.flush()
    finish(tail, log, [pen for _, pen in pens])
    order = [each.cursor for each in log]
    for begun, pen in pens:
        expected = order[order.index(begun) + 1 :]
        assert pen.taken == (expected if not pen.ended_because else expected[: len(pen.taken)])


def make_room(tail: Tail, pens: list[Pen], room: int = 5) -> None:
    for pen in pens:
        if pen.is_full and not pen.ended_because:
            pen.room, pen.is_full = room, False
            tail.resume(pen)


def finish(tail: Tail, log: list[LogEntry], pens: list[Pen]) -> None:
    tail.is_stale = True
    mend(tail, log)
    while any(pen.is_full and not pen.ended_because for pen in pens):
        make_room(tail, pens)
        mend(tail, log)


def test_the_ring_is_bounded_and_a_reader_that_falls_behind_it_asks_for_the_log() -> None:
    woken: list[Tail] = []
    tail = Tail("g", b"c", woken.append, nobody)
    tail.open(Cursor(1, 0))
    slow = Pen(Cursor(1, 0), room=1)
    tail.add(slow)
    for seq in range(1, 400):
        assert tail.receive(b"1-%d %b" % (seq, encode(Chunk("x" * 2000))))
        tail.flush()
    assert sum(map(len, tail._ring.frames)) <= RING_BYTES
    make_room(tail, [slow])
    assert tail.seekers == {slow}
    assert woken


def test_a_snapshot_replaces_what_live_readers_have_and_full_ones_ask_for_the_log() -> None:
    tail = Tail("g", b"c", nobody, nobody)
    tail.open(Cursor(1, 0))
    live, full = Pen(Cursor(1, 0)), Pen(Cursor(1, 0), room=1)
    tail.add(live)
    tail.add(full)
    tail.extend([entry(Cursor(1, 1)), entry(Cursor(1, 2))])
    tail.replace([entry(Cursor(7, 1)), entry(Cursor(7, 2))])
    tail.prepend(Cursor(6, 5), [entry(Cursor(7, 0)), entry(Cursor(7, 1))])
    assert live.taken == [Cursor(1, 1), Cursor(1, 2), Cursor(7, 1), Cursor(7, 2)]
    make_room(tail, [full])
    assert tail.seekers == {full}
    assert all(former < later for former, later in pairwise(map(cursor_in, tail._ring.frames)))
