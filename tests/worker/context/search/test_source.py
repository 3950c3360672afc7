"""The search source: the decision to search, the query, the materials."""

from typing import Literal

import pytest

from millrace.worker.context.search.engine import SearchResult
from millrace.worker.context.search.source import MAX_QUERY_CHARS, MAX_QUERY_WORDS, SearchSource, build_query
from millrace.worker.context.source import ContextPart, ContextQuestion, Material
from millrace.worker.contract.request import ModelRequest, PromptMessage

NEWS = "What is the latest news?"
TASK = "Write a poem."


class StubEngine:
    """An engine with one fixed result, which records its queries."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, int]] = []

    def search(self, query: str, count: int) -> list[SearchResult]:
        self.queries.append((query, count))
        return [SearchResult("Mill", "https://mill.example", "Water.")]

    def close(self) -> None:
        pass


def search(text: str, mode: bool | Literal["auto"]) -> tuple[ContextPart | None, list[tuple[str, int]], list[str]]:
    engine, statuses = StubEngine(), list[str]()
    request = ModelRequest([PromptMessage("user", text)], "model", 100, search=mode)
    question = ContextQuestion("g", "o", "c", "m", request, None, lambda: statuses.append("searching"))
    return SearchSource(engine, 1.0, 3).gather(question), engine.queries, statuses


@pytest.mark.parametrize(
    ("text", "mode", "is_searched"),
    [(NEWS, "auto", True), (TASK, "auto", False), (NEWS, False, False), (TASK, True, True)],
)
def test_a_search_runs_if_the_request_says_so_or_auto_finds_it_worth_it(
    text: str, mode: bool | Literal["auto"], is_searched: bool
) -> None:
    part, queries, statuses = search(text, mode)
    assert queries == ([(text, 3)] if is_searched else [])
    assert statuses == (["searching"] if is_searched else [])
    pages = (Material("search_result", "Water.", "Mill", "https://mill.example"),)
    assert part == (ContextPart(materials=pages) if is_searched else None)


def test_a_query_is_one_line_within_the_limits_of_services() -> None:
    assert build_query(" the\nmill\x00 \ud800race ") == "the mill \ufffdrace"
    assert len(build_query("a " * 500).split()) == MAX_QUERY_WORDS
    assert len(build_query("x" * 1000)) == MAX_QUERY_CHARS
