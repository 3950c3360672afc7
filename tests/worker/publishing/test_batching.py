"""What is gathered, when it is ready, and that nothing is lost, mixed or torn."""

from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse
from millrace.worker.publishing.batching import Batcher, Content, joined, size_of

FLUSH = "flush"

texts = st.text(st.sampled_from(["a", "é", "\u2028", "\ud83d", "\ude00", "😀", "\x00"]), max_size=4)
deltas = st.one_of(
    texts.map(Chunk), texts.map(Reasoning), st.just(Citation(title="t")), st.just(ToolUse("1", "look_up", {}))
)


def run(steps: list[Content | str], flush_bytes: int = 1024) -> list[Content]:
    batcher = Batcher(flush_bytes)
    events: list[Content] = []
    for step in steps:
        events += batcher.flush() if isinstance(step, str) else batcher.add(step)
    events += batcher.end()
    assert not batcher.is_gathering
    assert batcher.end() == []
    return events


def runs_of(contents: list[Content | str]) -> list[object]:
    """Return what stands there, with neighbours of one kind of text made one."""
    merged: list[object] = []
    kept = [each for each in contents if not isinstance(each, str) and getattr(each, "content", None) != ""]
    for kind, group in groupby(kept, type):
        if kind in (Chunk, Reasoning):
            merged.append(
                (kind, joined("".join(each.content for each in group if isinstance(each, Chunk | Reasoning))))
            )
        else:
            merged += list(group)
    return merged


@example([Chunk("a\ud83d"), Reasoning("\ude00")], 12)
@settings(max_examples=300)
@given(st.lists(st.one_of(deltas, st.just(FLUSH)), max_size=30), st.integers(1, 12))
def test_the_events_are_exactly_the_deltas_in_their_order(steps: list[Content | str], flush_bytes: int) -> None:
    events = run(steps, flush_bytes)
    assert runs_of(list(events)) == runs_of(steps)


@given(st.lists(st.one_of(texts.map(Chunk), st.just(FLUSH)), max_size=30), st.integers(1, 12))
def test_no_surrogate_pair_is_left_torn(steps: list[Content | str], flush_bytes: int) -> None:
    text = [event.content for event in run(steps, flush_bytes) if isinstance(event, Chunk)]
    assert "".join(text) == joined("".join(text))


def test_the_first_delta_of_each_kind_is_ready_at_once_and_the_next_are_gathered() -> None:
    batcher = Batcher(1024)
    assert batcher.add(Reasoning("so")) == [Reasoning("so")]
    assert batcher.add(Reasoning(", hm")) == []
    assert batcher.add(Chunk("Yes")) == [Reasoning(", hm"), Chunk("Yes")]
    assert batcher.add(Chunk(", in")) == []
    assert batcher.add(Chunk("deed")) == []
    assert batcher.is_gathering
    assert batcher.flush() == [Chunk(", indeed")]
    assert not batcher.is_gathering


def test_enough_bytes_are_an_event_without_a_flush() -> None:
    batcher = Batcher(8)
    batcher.add(Chunk("first"))
    assert batcher.add(Chunk("ééé")) == []
    assert batcher.add(Chunk("é")) == [Chunk("éééé")]


def test_half_a_character_waits_for_its_other_half_and_asks_for_no_flush_meanwhile() -> None:
    batcher = Batcher(1024)
    assert batcher.add(Chunk("a\ud83d")) == [Chunk("a")]
    assert not batcher.is_gathering
    assert batcher.flush() == []
    assert batcher.add(Chunk("\ude00!")) == []
    assert batcher.flush() == [Chunk("😀!")]


def test_half_a_character_that_stays_alone_survives() -> None:
    assert run([Chunk("a\ud83d"), FLUSH]) == [Chunk("a"), Chunk("\ud83d")]
    assert run([Chunk("\ude00")]) == [Chunk("\ude00")]


def test_the_size_is_that_of_utf_8() -> None:
    assert [size_of(text) for text in ("", "a", "é", "😀", "\ud83d")] == [0, 1, 2, 4, 3]
