"""Renderings over a real hub: many clients of one dialect, each from its own number on, at its own pace."""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from millrace.webapp.relay.frame_buffer import BUFFER_BYTES
from millrace.webapp.relay.frames import Frame, make_frame
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import EndReason, Reader
from millrace.webapp.relay.rendering import Rendered, Rendering, Renderings, Replay, after_frame
from millrace.worker.contract.events import Chunk, Done, Snapshot, StatusEvent, decode, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.client import wait_for
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import DONE, LogWriter


class NumberRenderer:
    """Renders a chunk `ab` as the two frames `N:a` and `N:b`, a snapshot as one, `done` as `N:end`; nothing else."""

    made = 0
    rendered = 0

    def __init__(self) -> None:
        self.is_over = False
        type(self).made += 1

    def render(self, frame: Frame, number: int) -> list[bytes]:
        type(self).rendered += 1
        match decode(frame.data):
            case Chunk(content):
                texts = list(content)
            case Snapshot(content):
                texts = [f"<{content}>"]
            case Done():
                self.is_over = True
                texts = ["end"]
            case _:
                texts = []
        return [f"{place}:{text}\n".encode() for place, text in enumerate(texts, number + 1)]

    def rejoin(self, frame: Frame, number: int) -> list[bytes]:
        return [f"{number + 1}:rejoined\n".encode()]


class PacedReader(Reader):
    """A client that has room for `room` frames, and asks for more when the test gives it room again."""

    def __init__(self, generation: str, after: int, room: int = 1_000_000) -> None:
        super().__init__(generation, after_frame(after))
        self.write = lambda _: 0
        self.room = room
        self.lines: list[str] = []

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        assert not self.end_reason
        taken = frames[: self.room]
        self.lines += [frame.body.decode().strip() for frame in taken]
        self.room -= len(taken)
        self.is_full = self.room <= 0
        return len(taken)

    def give_room(self, room: int) -> None:
        self.room += room
        if self.is_full and not self.end_reason:
            self.is_full = False
            self.source.resume(self)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        self.close(why)

    def close(self, why: EndReason) -> None:
        if not self.end_reason:
            self.end_reason = why
            self.source.remove(self)


@pytest.fixture
def hub(redis: Redis) -> Iterator[Hub]:
    hub = Hub(Streams(redis), SETTINGS)
    yield hub
    hub.stop()


Follow = Callable[..., PacedReader]


@pytest.fixture
def renderings(hub: Hub) -> Renderings:
    NumberRenderer.made = NumberRenderer.rendered = 0
    return Renderings(hub)


@pytest.fixture
def follow(renderings: Renderings) -> Follow:
    def start(
        writer: LogWriter, after: int = 0, room: int = 1_000_000, renderer: type[NumberRenderer] = NumberRenderer
    ) -> PacedReader:
        reader = PacedReader(writer.generation, after, room)
        rendered = Rendered(writer.generation, "numbers", renderer, cancels_unwatched=False)
        renderings.follow(reader, rendered)
        return reader

    return start


def expected(texts: Sequence[str], after: int = 0) -> list[str]:
    every = [f"{place}:{text}" for place, text in enumerate([*"".join(texts), "end"], 1)]
    return every[after:]


def test_clients_of_one_dialect_share_one_rendering(writer: LogWriter, follow: Follow, renderings: Renderings) -> None:
    readers = [follow(writer) for _ in range(20)]
    texts = ["ab", "c", "def"]
    for text in texts:
        writer.chunks(text)
    wait_for(lambda: all(len(reader.lines) == 6 for reader in readers))
    readers += [follow(writer, after) for after in range(7)]
    writer.end()
    wait_for(lambda: all(reader.end_reason for reader in readers))
    assert [reader.lines for reader in readers[:20]] == [expected(texts)] * 20
    assert [reader.lines for reader in readers[20:]] == [expected(texts, after) for after in range(7)]
    assert NumberRenderer.made == 1
    assert NumberRenderer.rendered == len(texts) + 3
    assert not renderings


def test_each_number_resumes_a_log_that_has_ended(writer: LogWriter, follow: Follow) -> None:
    texts = ["ab", "c", "def"]
    writer.chunks(*texts)
    writer.end()
    for after in range(9):
        reader = follow(writer, after)
        wait_for(lambda reader=reader: reader.end_reason == "done")
        assert reader.lines == expected(texts, after)


def test_slow_and_late_clients_get_a_replay_and_return_to_the_shared_rendering(
    writer: LogWriter, follow: Follow, renderings: Renderings, hub: Hub
) -> None:
    fast, slow = follow(writer), follow(writer, room=3)
    texts = [f"{number % 10}" * 50 for number in range(100)]  # more frames than the buffer holds
    writer.chunks(*texts)
    wait_for(lambda: len(fast.lines) == 5000)
    late = [follow(writer, after) for after in (0, 7, 4999)]
    wait_for(lambda: late[2].lines == ["5000:9"] and len(late[0].lines) == 5000)
    while len(slow.lines) < 5000:
        slow.give_room(97)
        wait_for(lambda: slow.is_full or len(slow.lines) == 5000)
    assert NumberRenderer.made == 4, "the shared one, and one replay for each of three clients"
    before = NumberRenderer.rendered
    slow.give_room(1_000_000)
    writer.chunks("x")
    readers = [fast, slow, *late]
    wait_for(lambda: all(reader.lines[-1].endswith("x") for reader in readers))
    assert NumberRenderer.rendered <= before + 5, "no client has a replay any more"
    writer.end()
    wait_for(lambda: all(reader.end_reason for reader in readers))
    assert [fast.lines, slow.lines] == [expected([*texts, "x"])] * 2
    assert [reader.lines for reader in late] == [expected([*texts, "x"], after) for after in (0, 7, 4999)]
    assert (len(renderings), hub.reader_count) == (0, 0)


def test_takeover_is_rendered_like_every_other_event(writer: LogWriter, follow: Follow) -> None:
    writer.chunks("ab")
    writer.write(Snapshot("", "", [], [], "takeover"))
    early = follow(writer)
    wait_for(lambda: len(early.lines) == 3)
    late = follow(writer, 2)
    wait_for(lambda: late.lines == ["3:<>"])
    writer.chunks("cd")
    writer.end()
    wait_for(lambda: bool(early.end_reason and late.end_reason))
    assert early.lines == ["1:a", "2:b", "3:<>", "4:c", "5:d", "6:end"]
    assert late.lines == early.lines[2:]


def test_client_rejoins_a_log_whose_beginning_is_lost(redis: Redis, writer: LogWriter) -> None:
    writer.chunks("abc")
    writer.end()
    stored = [
        LogEntry(after_frame(number), data)
        for number, data in enumerate(
            (
                b'{"type":"snapshot","content":"abc","reasoning":"","citations":[],"tools":[],"reason":"expired"}',
                b'{"type":"done","status":"completed"}',
            ),
            4,
        )
    ]
    redis.delete(keys_of(writer.generation).log)
    hub = Hub(Streams(redis), SETTINGS, lambda _: stored)
    try:
        renderings = Renderings(hub)
        rendered = Rendered(writer.generation, "numbers", NumberRenderer, cancels_unwatched=False)
        readers = [PacedReader(writer.generation, after) for after in (0, 2, 9)]
        for reader in readers:
            renderings.follow(reader, rendered)
        wait_for(lambda: all(reader.end_reason for reader in readers))
        assert [reader.lines for reader in readers] == [
            ["1:<abc>", "2:end"],
            ["3:rejoined", "4:end"],
            ["10:rejoined", "11:end"],
        ]
    finally:
        hub.stop()


def test_replay_rejoins_where_its_log_expires_before_it_has_reached_the_clients_number(
    writer: LogWriter, hub: Hub
) -> None:
    rendered = Rendered(writer.generation, "numbers", NumberRenderer, cancels_unwatched=False)
    shared, client = Rendering(hub, rendered, lambda: None), PacedReader(writer.generation, 9)
    shared.admit(client)
    events = (1, Chunk("ab")), (8, Snapshot("abcdefghij", "", [], [], "expired")), (9, DONE)
    frames = [make_frame(LogEntry(Cursor(1, seq), encode(event))) for seq, event in events]
    assert Replay(hub, rendered, client, shared).take_rest(frames, 0) == 3
    assert client.lines == ["10:rejoined", "11:end"]


def test_slow_clients_share_the_last_frames_however_large_these_are(writer: LogWriter, follow: Follow) -> None:
    class LargeRenderer(NumberRenderer):
        def render(self, frame: Frame, number: int) -> list[bytes]:
            bodies = super().render(frame, number)
            return (
                [b"%d:%b\n" % (number + 1 + place, b"x" * BUFFER_BYTES) for place in range(4)]
                if self.is_over
                else bodies
            )

    slow = [follow(writer, room=2, renderer=LargeRenderer) for _ in range(5)]
    late = follow(writer, 1, renderer=LargeRenderer)
    writer.chunks("abcd")
    writer.end()
    wait_for(lambda: late.end_reason == "done")
    for reader in slow:
        assert reader.lines == ["1:a", "2:b"]
        reader.give_room(1_000_000)
    wait_for(lambda: all(reader.end_reason == "done" for reader in slow))
    assert all(reader.lines == slow[0].lines and len(reader.lines) == 8 for reader in slow)
    assert LargeRenderer.made == 1


def test_clients_that_join_after_the_end_share_the_rendering_of_those_that_still_read_it(
    writer: LogWriter, follow: Follow, renderings: Renderings
) -> None:
    writer.chunks("abc")
    writer.end()
    slow = follow(writer, room=1)
    wait_for(lambda: slow.lines == ["1:a"])
    late = [follow(writer, after) for after in (0, 2, 4, 9)]
    wait_for(lambda: all(reader.end_reason == "done" for reader in late))
    assert [reader.lines for reader in late] == [expected(["abc"], after) for after in (0, 2, 4, 9)]
    slow.give_room(10)
    wait_for(lambda: slow.end_reason == "done")
    assert slow.lines == expected(["abc"])
    assert NumberRenderer.made == 1
    assert not renderings


def test_each_client_adds_to_the_frames_that_are_kept_for_slow_ones(writer: LogWriter, follow: Follow) -> None:
    fast, slow = follow(writer), [follow(writer, room=1) for _ in range(9)]
    texts = ["x" * 500] * 30  # more frames than one client's share
    writer.chunks(*texts)
    wait_for(lambda: len(fast.lines) == 15_000)
    for reader in slow:
        reader.give_room(1_000_000)
    writer.end()
    wait_for(lambda: all(reader.end_reason == "done" for reader in slow))
    assert [reader.lines for reader in slow] == [expected(texts)] * 9
    assert NumberRenderer.made == 1


def test_last_client_that_leaves_ends_the_rendering(
    writer: LogWriter, follow: Follow, renderings: Renderings, hub: Hub
) -> None:
    readers = [follow(writer) for _ in range(3)]
    writer.chunks("a")
    wait_for(lambda: all(reader.lines for reader in readers))
    for reader in readers:
        assert len(renderings) == 1
        reader.close("client_left")
    assert (len(renderings), hub.reader_count) == (0, 0)
    again = follow(writer, 1)
    writer.end()
    wait_for(lambda: again.end_reason == "done")
    assert again.lines == ["2:end"]


@pytest.mark.parametrize("seed", range(8))
def test_any_mix_of_clients_gets_every_frame_once(
    seed: int, make_writer: Callable[[], LogWriter], follow: Follow, hub: Hub, renderings: Renderings
) -> None:
    chance, writer = random.Random(seed), make_writer()
    texts: list[str] = []
    readers: list[tuple[int, PacedReader]] = []

    def write() -> None:
        texts.append("x" * chance.choice([1, 1, 3, 900]))
        writer.chunks(texts[-1])

    def lose() -> None:
        texts.append("s")
        writer.write_silently(Chunk("s"))

    def join() -> None:
        after = chance.randint(0, sum(map(len, texts)))
        readers.append((after, follow(writer, after, chance.choice([1, 5, 1_000_000]))))

    def give_room() -> None:
        for _, reader in chance.sample(readers, min(2, len(readers))):
            reader.give_room(chance.choice([1, 40, 3000]))

    def leave() -> None:
        for place, reader in chance.sample(readers, min(1, len(readers))):
            reader.close("client_left")
            readers.remove((place, reader))

    for _ in range(80):
        chance.choice([write, write, lose, join, give_room, leave, lambda: writer.write(StatusEvent("retrying", 1))])()
    writer.end()
    check_all(readers, texts)
    assert (len(renderings), hub.reader_count) == (0, 0)


def check_all(readers: list[tuple[int, PacedReader]], texts: list[str]) -> None:
    for _, reader in readers:
        reader.give_room(1_000_000)
    wait_for(lambda: all(reader.end_reason for _, reader in readers))
    for after, reader in readers:
        assert reader.lines == expected(texts, after)
