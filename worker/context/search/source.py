"""Web search as a source: where it is asked for, or where the question seems to be worth it."""

from millrace.worker.context.escaping import cleaned
from millrace.worker.context.search.engine import Engine
from millrace.worker.context.search.rule import is_worth_searching
from millrace.worker.context.source import ContextPart, ContextQuestion, Material

QUERY_CHARS = 400  # more of either no service takes
QUERY_WORDS = 50


class Search:
    """Searches by one engine; `results` is how many pages an answer is built on."""

    name = "search"

    def __init__(self, engine: Engine, seconds: float, results: int) -> None:
        self.seconds = seconds
        self._engine = engine
        self._results = results

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the pages, None where none were searched for; raises what the engine raises."""
        asked = question.request.search
        if asked is False or (asked == "auto" and not is_worth_searching(question.text)):
            return None
        question.say_searching()
        found = self._engine.search(query_of(question.text), self._results)
        return ContextPart(
            materials=tuple(Material("search_result", each.text, each.title, each.url) for each in found)
        )


def query_of(text: str) -> str:
    """Return what to search for: the message, on one line, as far as services take it."""
    return " ".join(cleaned(text).split()[:QUERY_WORDS])[:QUERY_CHARS]
