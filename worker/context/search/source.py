"""The search source: searches the web if the request says so, or if `"auto"` finds the question worth it."""

from millrace.worker.context.escaping import sanitize
from millrace.worker.context.search.engine import SearchEngine
from millrace.worker.context.search.rule import is_worth_searching
from millrace.worker.context.source import ContextPart, ContextQuestion, Material

MAX_QUERY_CHARS = 400  # no service accepts more, of characters or of words
MAX_QUERY_WORDS = 50
MAX_QUERY_SOURCE_CHARS = 4 * MAX_QUERY_CHARS  # of the message, before white space is removed


class SearchSource:
    """Searches with one engine; `results` is the number of pages that an answer is based on."""

    name = "search"

    def __init__(self, engine: SearchEngine, seconds: float, results: int) -> None:
        self.seconds = seconds
        self._engine = engine
        self._results = results

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the pages, None without a search; raises the engine's errors."""
        mode = question.request.search
        if mode is False or (mode == "auto" and not is_worth_searching(question.text)):
            return None
        question.on_search()
        pages = self._engine.search(build_query(question.text), self._results)
        return ContextPart(
            materials=tuple(Material("search_result", page.text, page.title, page.url) for page in pages)
        )


def build_query(text: str) -> str:
    """Return the search query: the message on one line, as much of it as services accept."""
    return " ".join(sanitize(text[:MAX_QUERY_SOURCE_CHARS]).split()[:MAX_QUERY_WORDS])[:MAX_QUERY_CHARS]
