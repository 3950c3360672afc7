"""The buffer of a log's newest frames against a plain list."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.frame_buffer import BUFFER_BYTES, FrameBuffer
from millrace.webapp.relay.frames import Frame
from millrace.worker.contract.ids import Cursor

SIZES = st.lists(st.sampled_from([10, 1000, 50_000, 100_000]), max_size=30)


def frames_of(sizes: list[int], first: int) -> list[Frame]:
    return [Frame(1, seq, b"x" * size) for seq, size in enumerate(sizes, first)]


@given(SIZES, SIZES)
def test_buffer_holds_a_contiguous_run_within_its_bounds(older: list[int], newer: list[int]) -> None:
    buffer = FrameBuffer()
    buffer.before = Cursor(1, 100)
    appended = frames_of(newer, 101)
    for frame in appended:
        buffer.append(frame)
    prepended = frames_of(older, 101 - len(older))
    if len(buffer.frames) == len(appended):
        for frame in reversed(prepended):
            if not buffer.prepend(frame):
                buffer.before = frame.cursor
                break
            buffer.before = Cursor(1, frame.seq - 1)
    held = [*prepended, *appended][-len(buffer.frames) :] if buffer.frames else []
    assert list(buffer.frames) == held
    assert sum(len(frame.payload) for frame in buffer.frames) <= BUFFER_BYTES
    for cursor in (buffer.before, *(frame.cursor for frame in held)):
        number = buffer.number_after(cursor)
        assert number is not None
        assert buffer.slice(number, 3) == [frame for frame in held if frame.cursor > cursor][:3]
    assert buffer.number_after(Cursor(2, 1)) is None


def test_numbers_from_before_a_reset_are_out_of_range() -> None:
    buffer = FrameBuffer()
    buffer.append(Frame(1, 1, b"x"))
    last = buffer.end
    buffer.reset()
    buffer.append(Frame(2, 2, b"y"))
    assert last < buffer.start
