"""What an answer is built on: the sources of one process, in the order in which the prompt has them."""

from collections import Counter
from collections.abc import Sequence

from worker.context.gathering import gather
from worker.context.own import load_own
from worker.context.search.brave import Brave
from worker.context.search.engine import Engine
from worker.context.search.searxng import Searxng
from worker.context.search.source import Search
from worker.context.source import Gathered, Question, Source
from worker.contract.errors import SettingError
from worker.contract.settings import Settings


class Sources:
    """The sources of one process; the `engine`, where there is one, is closed with them."""

    def __init__(self, sources: Sequence[Source], engine: Engine | None = None) -> None:
        self.sources = tuple(sources)
        self._engine = engine

    def gather(self, question: Question) -> Gathered:
        """Return what they give for a question."""
        return gather(self.sources, question)

    def close(self) -> None:
        """Close the connections that are kept."""
        if self._engine is not None:
            self._engine.close()


def make_sources(settings: Settings) -> Sources:
    """Return the sources that the settings switch on; raises SettingError. A new one is named here."""
    sources: list[Source] = []
    engine = make_engine(settings)
    if engine is not None:
        sources.append(Search(engine, settings.search_seconds, settings.search_results))
    sources += load_own(settings)
    doubled = [name for name, times in Counter(source.name for source in sources).items() if times > 1]
    if doubled:
        raise SettingError(f"MILLRACE_CONTEXT: there is more than one source of the name {', '.join(doubled)}")
    return Sources(sources, engine)


def make_engine(settings: Settings) -> Engine | None:
    """Return the search engine that is configured, None where none is; raises SettingError."""
    url, key, seconds = settings.search_url, settings.search_key, settings.search_seconds
    match settings.search_engine:
        case "searxng":
            if not url:
                raise SettingError("MILLRACE_SEARCH_URL: is not set; takes the address of the SearXNG instance")
            return Searxng(url, key, seconds)
        case "brave":
            if not key:
                raise SettingError("MILLRACE_SEARCH_KEY: is not set; takes the key of a subscription with Brave")
            return Brave(url, key, seconds)
        case _:
            return None
