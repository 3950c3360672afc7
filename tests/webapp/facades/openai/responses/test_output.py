from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from millrace.webapp.facades.openai.responses.output import annotation_of, output_of
from millrace.worker.contract.events import AnyEvent, Chunk, Reasoning
from millrace.worker.contract.transcript import fold
from tests.webapp.facades.openai.responses.logs import GENERATION, PAGE, QUEUED, TOOL, complete, dialect, logs, render


@settings(deadline=None)
@given(logs())
def test_output_of_a_transcript_has_distinct_ids_and_all_of_its_texts(events: list[AnyEvent]) -> None:
    whole = fold(events)
    items = msgspec.to_builtins(output_of(GENERATION, whole, "completed"))
    assert len({each["id"] for each in items}) == len(items)
    calls = [each for each in items if each["type"] == "function_call"]
    assert len({each["call_id"] for each in calls}) == len(calls) == len(whole.tools)
    assert "".join(each["content"][0]["text"] for each in items if each["type"] == "message") == whole.content
    assert "".join(each["summary"][0]["text"] for each in items if each["type"] == "reasoning") == whole.reasoning


def test_output_of_an_ordinary_answer_is_that_of_its_stream() -> None:
    events = [QUEUED, Reasoning("Hm"), Chunk("Hi"), PAGE, TOOL, TOOL, complete()]
    streamed = render(dialect(), *events)[-1]["response"]["output"]
    assert msgspec.to_builtins(output_of(GENERATION, fold(events), "completed")) == streamed


def test_only_the_last_item_has_the_status_of_an_unfinished_answer() -> None:
    thinking = output_of(GENERATION, fold([QUEUED, Reasoning("Hm")]), "in_progress")
    writing = output_of(GENERATION, fold([QUEUED, Reasoning("Hm"), Chunk("Hi")]), "in_progress")
    assert [each.status for each in thinking] == ["in_progress"]
    assert [each.status for each in writing] == ["completed", "in_progress"]


@pytest.mark.parametrize(
    ("cited", "url", "title"),
    [
        (("T", None, {"web": {"url": "https://a.example"}}), "https://a.example", "T"),
        (("T", "https://b.example", None), "https://b.example", "T"),
        ((None, "http://b.example", {"documentChar": {}}), "http://b.example", "http://b.example"),
        (("T", "Shelf 3", {"documentChar": {}}), None, None),
        (("T", None, {"web": {"url": None}}), None, None),
    ],
)
def test_citation_of_a_web_page_has_its_url_and_a_title(
    cited: tuple[Any, Any, Any], url: str | None, title: str | None
) -> None:
    found = annotation_of(*cited, 7)
    assert (found and found.url, found and found.title) == (url, title)
