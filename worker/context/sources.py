"""What an answer is built on: the sources of one process, in the order in which the prompt has them."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from millrace.worker.context.gathering import gather
from millrace.worker.context.history import History
from millrace.worker.context.intent import Intent
from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.memory import Memory
from millrace.worker.context.naming import Naming
from millrace.worker.context.plugins import load_own
from millrace.worker.context.profile import UserProfile
from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.engine import Engine
from millrace.worker.context.search.searxng import Searxng
from millrace.worker.context.search.source import Search
from millrace.worker.context.source import ContextQuestion, Gathered, Source
from millrace.worker.errors import SettingError
from millrace.worker.providers.protocol import Provider
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database


class Closable(Protocol):
    """What a source keeps open."""

    def close(self) -> None:
        """Close it."""
        ...


class Sources:
    """The sources of one process; what they have `opened` is closed with them."""

    def __init__(self, sources: Sequence[Source], opened: Sequence[Closable] = ()) -> None:
        self.sources = tuple(sources)
        self._opened = opened

    def gather(self, question: ContextQuestion) -> Gathered:
        """Return what they give for a question."""
        return gather(self.sources, question)

    def close(self) -> None:
        """Close the connections that are kept, and end what goes on beside the answers."""
        for each in self._opened:
            each.close()


def make_sources(settings: Settings, provider: Provider, database: Database) -> Sources:
    """Return the sources that the settings switch on; raises SettingError. A new one is named here."""
    reader = ContextLoader(settings, database)
    naming = Naming(settings, provider, database)
    opened: list[Closable] = [naming]
    sources: list[Source] = [
        UserProfile(reader, naming),
        History(reader),
        Memory(reader),
    ]
    if settings.context.intent_schema:
        sources.append(Intent(settings, provider, reader, database))
    engine = make_engine(settings)
    if engine is not None:
        opened.append(engine)
        sources.append(Search(engine, settings.search.seconds, settings.search.results))
    sources += load_own(settings)
    doubled = [name for name, times in Counter(source.name for source in sources).items() if times > 1]
    if doubled:
        raise SettingError(f"MILLRACE_CONTEXT: there is more than one source of the name {', '.join(doubled)}")
    return Sources(sources, opened)


def make_engine(settings: Settings) -> Engine | None:
    """Return the configured search engine, or None."""
    url, key, seconds = settings.search.url, settings.search.key, settings.search.seconds
    match settings.search.engine:
        case "searxng":
            return Searxng(url, key, seconds)
        case "brave":
            return Brave(url, key, seconds)
        case _:
            return None
