"""Batching merges deltas without losing, reordering or splitting any."""

from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse
from millrace.worker.publishing.batching import MAX_CITATION_CHARS, Batcher, Content, utf8_size
from millrace.worker.text.characters import join_surrogates

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
    events += batcher.finish()
    assert not batcher.has_unflushed
    assert batcher.finish() == []
    return events


def runs_of(contents: list[Content | str]) -> list[object]:
    """Return the contents with neighbouring text of one kind merged, and without flushes and empty text."""
    merged: list[object] = []
    contents_left = [each for each in contents if not isinstance(each, str) and getattr(each, "content", None) != ""]
    for kind, group in groupby(contents_left, type):
        if kind in (Chunk, Reasoning):
            merged.append(
                (kind, join_surrogates("".join(each.content for each in group if isinstance(each, Chunk | Reasoning))))
            )
        else:
            merged += list(group)
    return merged


@example([Chunk("a\ud83d"), Reasoning("\ude00")], 12)
@settings(max_examples=300)
@given(st.lists(st.one_of(deltas, st.just(FLUSH)), max_size=30), st.integers(1, 12))
def test_events_hold_exactly_the_deltas_in_order(steps: list[Content | str], flush_bytes: int) -> None:
    events = run(steps, flush_bytes)
    assert runs_of(list(events)) == runs_of(steps)


@given(st.lists(st.one_of(texts.map(Chunk), st.just(FLUSH)), max_size=30), st.integers(1, 12))
def test_no_surrogate_pair_is_split_between_events(steps: list[Content | str], flush_bytes: int) -> None:
    text = [event.content for event in run(steps, flush_bytes) if isinstance(event, Chunk)]
    assert "".join(text) == join_surrogates("".join(text))


def test_the_first_delta_of_each_kind_is_ready_at_once_and_later_ones_are_buffered() -> None:
    batcher = Batcher(1024)
    assert batcher.add(Reasoning("so")) == [Reasoning("so")]
    assert batcher.add(Reasoning(", hm")) == []
    assert batcher.add(Chunk("Yes")) == [Reasoning(", hm"), Chunk("Yes")]
    assert batcher.add(Chunk(", in")) == []
    assert batcher.add(Chunk("deed")) == []
    assert batcher.has_unflushed
    assert batcher.flush() == [Chunk(", indeed")]
    assert not batcher.has_unflushed


def test_reaching_flush_bytes_makes_an_event_without_a_flush() -> None:
    batcher = Batcher(8)
    batcher.add(Chunk("first"))
    assert batcher.add(Chunk("ééé")) == []
    assert batcher.add(Chunk("é")) == [Chunk("éééé")]


def test_half_a_surrogate_pair_stays_buffered_without_requesting_a_flush() -> None:
    batcher = Batcher(1024)
    assert batcher.add(Chunk("a\ud83d")) == [Chunk("a")]
    assert not batcher.has_unflushed
    assert batcher.flush() == []
    assert batcher.add(Chunk("\ude00!")) == []
    assert batcher.flush() == [Chunk("😀!")]


def test_a_lone_surrogate_is_kept() -> None:
    assert run([Chunk("a\ud83d"), FLUSH]) == [Chunk("a"), Chunk("\ud83d")]
    assert run([Chunk("\ude00")]) == [Chunk("\ude00")]


def test_the_size_is_the_length_in_utf_8() -> None:
    assert [utf8_size(text) for text in ("", "a", "é", "😀", "\ud83d")] == [0, 1, 2, 4, 3]


def test_a_citation_has_a_title_and_a_source_that_a_page_can_show() -> None:
    hostile = Citation("\u202eTi\x00tle\U000e0041 \ud800می‌خواهم", "\u2066\0", [{"text": "\u202ex"}], {"web": {}})
    assert run([hostile]) == [Citation("Ti tle \ufffdمی‌خواهم", None, [{"text": "\u202ex"}], {"web": {}})]
    (long,) = run([Citation("a" * 100_000)])
    assert isinstance(long, Citation)
    assert long.title == "a" * (MAX_CITATION_CHARS - 1) + "…"
