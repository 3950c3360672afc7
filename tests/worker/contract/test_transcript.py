"""The transcript that a reader assembles from events."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    ContextEvent,
    Done,
    Error,
    Image,
    ImageReference,
    Link,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
)
from millrace.worker.contract.transcript import Transcript, fold

texts = st.text(max_size=5)
bodies: st.SearchStrategy[list[AnyEvent]] = st.lists(
    st.builds(Chunk, texts)
    | st.builds(Reasoning, texts)
    | st.builds(Citation, title=texts)
    | st.builds(Image, texts, st.just("png"), st.integers(1, 9))
    | st.builds(ToolUse, texts, texts, texts)
    | st.builds(ToolResult, texts, st.lists(texts, max_size=2))
    | st.just(StatusEvent("retrying"))
)


@given(bodies)
def test_text_is_all_the_chunks_in_order(events: list[AnyEvent]) -> None:
    transcript = fold(events)
    assert transcript.content == "".join(event.content for event in events if isinstance(event, Chunk))
    assert transcript.reasoning == "".join(event.content for event in events if isinstance(event, Reasoning))


@given(bodies, bodies, bodies)
def test_snapshot_replaces_everything_before_it(
    before: list[AnyEvent], replaced: list[AnyEvent], after: list[AnyEvent]
) -> None:
    snapshot = fold(replaced).snapshot("lost")
    assert fold([*before, snapshot, *after]) == fold([snapshot, *after])
    one, other = fold([snapshot, *after]), fold([*replaced, *after])
    assert one.snapshot("gap") == other.snapshot("gap")


def test_snapshot_replaces_text_reasoning_citations_tools_and_images() -> None:
    transcript = fold(
        [Chunk("a"), Reasoning("b"), Citation(title="c"), ToolUse("d", "e", {"f": 1}), Image("i", "png", 9)]
    )
    assert transcript.snapshot("takeover") == Snapshot(
        "a",
        "b",
        [{"title": "c"}],
        [{"id": "d", "name": "e", "input": {"f": 1}}],
        "takeover",
        [ImageReference("i", "png", 9)],
    )
    transcript.apply(Snapshot("x", "y", [], [], "takeover"))
    assert transcript.snapshot("gap") == Snapshot("x", "y", [], [], "gap")


def test_snapshot_is_not_changed_by_later_events() -> None:
    transcript = fold([Citation(title="a")])
    snapshot = transcript.snapshot("gap")
    transcript.apply(Citation(title="b"))
    assert snapshot.citations == [{"title": "a"}]


def test_outcome_title_suggestions_and_done_are_in_the_transcript() -> None:
    transcript = Transcript()
    assert (transcript.outcome, transcript.title, transcript.suggestions, transcript.is_done) == (None,) * 3 + (False,)
    cancelled = Cancelled("user", Usage())
    for event in (Chunk("a"), cancelled, Title("t"), Suggestions(["s"]), Done("cancelled")):
        transcript.apply(event)
    assert (transcript.content, transcript.outcome, transcript.title) == ("a", cancelled, "t")
    assert (transcript.suggestions, transcript.is_done) == (["s"], True)


def test_error_is_an_outcome_and_keeps_the_text() -> None:
    error = Error("internal", "Sorry.", retryable=True)
    transcript = fold([Chunk("a"), error])
    assert (transcript.outcome, transcript.content) == (error, "a")


def test_copy_is_independent() -> None:
    first = fold([Chunk("a"), Reasoning("b"), ToolUse("1", "look", {})])
    second = first.copy()
    assert second == first
    for event in (Chunk("c"), Reasoning("d"), ToolUse("2", "look", {}), Image("i", "gif", 1), Done("completed")):
        second.apply(event)
    assert (first.content, first.reasoning, len(first.tools), first.images, first.is_done) == ("a", "b", 1, [], False)
    assert (second.content, second.reasoning, len(second.tools), second.is_done) == ("ac", "bd", 2, True)
    assert len(second.images) == 1


def test_sources_of_the_context_survive_a_snapshot_and_a_copy() -> None:
    page = Link("A page", "https://example.com/")
    transcript = fold([ContextEvent([page], 0, 0, 0, 0), Chunk("a"), Snapshot("b", "", [], [], "takeover")])
    copied = transcript.copy()
    transcript.sources.clear()
    assert (copied.content, copied.sources) == ("b", [page])
