"""Search as a source: when it searches, what it asks for, what it gives."""

from typing import Literal

import pytest

from millrace.worker.context.search.engine import Found
from millrace.worker.context.search.source import QUERY_CHARS, QUERY_WORDS, Search, query_of
from millrace.worker.context.source import ContextPart, ContextQuestion, Material
from millrace.worker.contract.request import ModelRequest, PromptMessage

NEWS = "What is the latest news?"
TASK = "Write a poem."


class Listed:
    """An engine that gives the same pages always."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, int]] = []

    def search(self, query: str, count: int) -> list[Found]:
        self.queries.append((query, count))
        return [Found("Mill", "https://mill.example", "Water.")]

    def close(self) -> None:
        pass


def ask(text: str, search: bool | Literal["auto"]) -> tuple[ContextPart | None, list[tuple[str, int]], list[str]]:
    engine, said = Listed(), list[str]()
    request = ModelRequest([PromptMessage("user", text)], "model", 100, search=search)
    question = ContextQuestion("g", "o", "c", "m", request, None, lambda: said.append("searching"))
    return Search(engine, 1.0, 3).gather(question), engine.queries, said


@pytest.mark.parametrize(
    ("text", "search", "is_searched"),
    [(NEWS, "auto", True), (TASK, "auto", False), (NEWS, False, False), (TASK, True, True)],
)
def test_it_searches_where_asked_to_or_where_auto_finds_it_worth_it(
    text: str, search: bool | Literal["auto"], is_searched: bool
) -> None:
    piece, queries, said = ask(text, search)
    assert queries == ([(text, 3)] if is_searched else [])
    assert said == (["searching"] if is_searched else [])
    pages = (Material("search_result", "Water.", "Mill", "https://mill.example"),)
    assert piece == (ContextPart(materials=pages) if is_searched else None)


def test_a_query_is_one_line_that_services_take() -> None:
    assert query_of(" the\nmill\x00 \ud800race ") == "the mill \ufffdrace"
    assert len(query_of("a " * 500).split()) == QUERY_WORDS
    assert len(query_of("x" * 1000)) == QUERY_CHARS
