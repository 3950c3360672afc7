"""The context sources that the settings switch on, and how they run: all at once, each within its own time limit.

The database's runs in the answer's own greenlet: a greenlet and a timer for it would take as long as its query.
The prompt shows them in this order; plug-ins come last. A failure is logged and counted, and delays no answer.
"""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import copy_context
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

import gevent

from millrace.worker.context.assistant_name import AssistantNamer
from millrace.worker.context.intent import IntentSource
from millrace.worker.context.search.brave import Brave
from millrace.worker.context.search.engine import SearchEngine
from millrace.worker.context.search.searxng import Searxng
from millrace.worker.context.search.source import SearchSource
from millrace.worker.context.source import ContextPart, ContextQuestion, ContextSource, GatheredContext
from millrace.worker.context.stored_context import ContextLoader, StoredContextSource
from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.router import Router
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database

GRACE_SECONDS = 0.5  # for a source that swallows its own timeout

_log = get_logger(__name__)


class Closable(Protocol):
    """A resource that a source holds, such as a connection pool."""

    def close(self) -> None:
        """Release it."""
        ...


class Sources:
    """The sources of one process, and the resources that are closed with them."""

    def __init__(
        self,
        sources: Sequence[ContextSource],
        resources: Sequence[Closable] = (),
        warm_up: Callable[[], None] = lambda: None,
        stored: StoredContextSource | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.stored = stored
        self.warm_up = warm_up
        """Do once what would delay the first answer."""
        self._resources = resources

    def gather(self, question: ContextQuestion) -> GatheredContext:
        """Return the parts of all sources for a question."""
        return gather(self.sources, question, self.stored)

    def close(self) -> None:
        """Close idle connections and abandon background calls."""
        for resource in self._resources:
            resource.close()


def make_sources(settings: Settings, router: Router, database: Database) -> Sources:
    """Return the sources that the settings switch on; raises SettingError. A new built-in source is added here."""
    loader = ContextLoader(settings, database)
    namer = AssistantNamer(settings, router, database)
    resources: list[Closable] = [namer]
    stored = StoredContextSource(loader, namer)
    sources: list[ContextSource] = []
    if settings.context.intent_schema:
        sources.append(IntentSource(settings, router, loader, database))
    engine = make_engine(settings)
    if engine is not None:
        resources.append(engine)
        sources.append(SearchSource(engine, settings.search.seconds, settings.search.results))
    sources += load_plugins(settings)
    names = [stored.name, *(source.name for source in sources)]
    duplicates = [name for name, times in Counter(names).items() if times > 1]
    if duplicates:
        raise SettingError(f"MILLRACE_CONTEXT: several sources have the name {', '.join(duplicates)}")
    return Sources(sources, resources, loader.warm_up, stored)


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
    except (Exception, SystemExit) as error:
        raise SettingError(f"MILLRACE_CONTEXT: {path} cannot be imported: {type(error).__name__}: {error}") from error
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


class _SourceResult(NamedTuple):
    part: ContextPart | None
    has_failed: bool


def gather(
    sources: Sequence[ContextSource], question: ContextQuestion, stored: ContextSource | None = None
) -> GatheredContext:
    """Return the parts of all sources; raises only an exception that interrupts the calling greenlet.

    `stored` runs in this greenlet and must keep its time limit itself. Its part is the first.
    """
    give_up_at = time.monotonic() + max((source.seconds for source in sources), default=0.0) + GRACE_SECONDS
    # Each in a copy of the context, so that its log lines have the request's id as well.
    greenlets = {source.name: gevent.spawn(copy_context().run, _run, source, question) for source in sources}
    results: dict[str, _SourceResult] = {}
    try:
        if stored is not None:
            results[stored.name] = _run_here(stored, question)
        if greenlets:
            gevent.sleep(0)  # lets the sources' timeouts start before the common one
            gevent.joinall([*greenlets.values()], timeout=max(0.0, give_up_at - time.monotonic()))
    finally:
        gevent.killall([*greenlets.values()], block=False)
    results |= {name: _result_of(greenlet, name, question) for name, greenlet in greenlets.items()}
    parts = {name: result.part for name, result in results.items() if result.part is not None}
    return GatheredContext(parts, failed=sum(result.has_failed for result in results.values()))


def _result_of(greenlet: "gevent.Greenlet[..., _SourceResult]", name: str, question: ContextQuestion) -> _SourceResult:
    if greenlet.value is not None:
        return greenlet.value
    _log.warning("context_source_abandoned", source=name, generation=question.generation)
    return _SourceResult(None, has_failed=True)


def _run(source: ContextSource, question: ContextQuestion) -> _SourceResult:
    started = time.monotonic()
    timeout = gevent.Timeout(source.seconds)
    try:
        with timeout:
            return _SourceResult(source.gather(question), has_failed=False)
    except gevent.Timeout as expired:
        reason = "timed out" if expired is timeout else "the source's own timeout"
    except gevent.GreenletExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the edge of this greenlet: an answer never fails because of its
        # context, and a SystemExit would end the whole process.
        reason = _reason(error)
    return _failed(source, question, started, reason)


def _run_here(source: ContextSource, question: ContextQuestion) -> _SourceResult:
    started = time.monotonic()
    try:
        return _SourceResult(source.gather(question), has_failed=False)
    except Exception as error:  # noqa: BLE001 - as above; an interrupt of the answer is no Exception
        return _failed(source, question, started, _reason(error))


def _reason(error: BaseException) -> str:
    """Return an error's type and place: its message may quote the question."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {place.filename}:{place.lineno}"


def _failed(source: ContextSource, question: ContextQuestion, started: float, reason: str) -> _SourceResult:
    ms = int((time.monotonic() - started) * 1000)
    _log.warning("context_source_failed", source=source.name, generation=question.generation, ms=ms, error=reason)
    return _SourceResult(None, has_failed=True)
