"""The sources that the settings switch on, in the order in which the prompt shows them; plug-ins come last."""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from millrace.worker.context.assistant_name import AssistantNamer
from millrace.worker.context.gathering import gather
from millrace.worker.context.intent import IntentSource
from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.engine import SearchEngine
from millrace.worker.context.search.searxng import Searxng
from millrace.worker.context.search.source import SearchSource
from millrace.worker.context.source import ContextQuestion, ContextSource, GatheredContext
from millrace.worker.context.stored_context import ContextLoader, HistorySource, MemorySource, ProfileSource
from millrace.worker.errors import SettingError
from millrace.worker.providers.protocol import Provider
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database


class Closable(Protocol):
    """A resource that a source holds, such as a connection pool."""

    def close(self) -> None:
        """Release it."""
        ...


class Sources:
    """The sources of one process, and the resources that are closed with them."""

    def __init__(self, sources: Sequence[ContextSource], resources: Sequence[Closable] = ()) -> None:
        self.sources = tuple(sources)
        self._resources = resources

    def gather(self, question: ContextQuestion) -> GatheredContext:
        """Return the parts of all sources for a question."""
        return gather(self.sources, question)

    def close(self) -> None:
        """Close idle connections and abandon background calls."""
        for resource in self._resources:
            resource.close()


def make_sources(settings: Settings, provider: Provider, database: Database) -> Sources:
    """Return the sources that the settings switch on; raises SettingError. A new built-in source is added here."""
    loader = ContextLoader(settings, database)
    namer = AssistantNamer(settings, provider, database)
    resources: list[Closable] = [namer]
    sources: list[ContextSource] = [
        ProfileSource(loader, namer),
        HistorySource(loader),
        MemorySource(loader),
    ]
    if settings.context.intent_schema:
        sources.append(IntentSource(settings, provider, loader, database))
    engine = make_engine(settings)
    if engine is not None:
        resources.append(engine)
        sources.append(SearchSource(engine, settings.search.seconds, settings.search.results))
    sources += load_plugins(settings)
    duplicates = [name for name, times in Counter(source.name for source in sources).items() if times > 1]
    if duplicates:
        raise SettingError(f"MILLRACE_CONTEXT: several sources have the name {', '.join(duplicates)}")
    return Sources(sources, resources)


def make_engine(settings: Settings) -> SearchEngine | None:
    """Return the configured search engine, or None."""
    url, key, seconds = settings.search.url, settings.search.key, settings.search.seconds
    match settings.search.engine:
        case "searxng":
            return Searxng(url, key, seconds)
        case "brave":
            return Brave(url, key, seconds)
        case _:
            return None


def load_plugins(settings: Settings) -> list[ContextSource]:
    """Return the sources that `MILLRACE_CONTEXT` names; raises SettingError if one cannot be loaded."""
    return [_load_plugin(path) for path in settings.context.sources]


def _load_plugin(path: str) -> ContextSource:
    module, _, name = path.partition(":")
    try:
        source: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"MILLRACE_CONTEXT: {path} cannot be imported: {error}") from error
    is_source = (
        isinstance(getattr(source, "name", None), str)
        and isinstance(getattr(source, "seconds", None), int | float)
        and callable(getattr(source, "gather", None))
        and not isinstance(source, type)
    )
    if not is_source:
        raise SettingError(
            f"MILLRACE_CONTEXT: {path} is not a source: an object with `name`, `seconds` and `gather(question)`"
        )
    return cast("ContextSource", source)
