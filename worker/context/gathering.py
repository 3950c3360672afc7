"""Run all sources at once, each within its own time limit; a failure is logged and counted, and delays no answer."""

import time
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import gevent

from millrace.worker.context.source import NO_CONTEXT, ContextPart, ContextQuestion, ContextSource, GatheredContext
from millrace.worker.observability.logs import get_logger

GRACE_SECONDS = 0.5  # for a source that swallows its own timeout

_log = get_logger(__name__)


class _SourceResult(NamedTuple):
    part: ContextPart | None
    has_failed: bool


def gather(sources: Sequence[ContextSource], question: ContextQuestion) -> GatheredContext:
    """Return the parts of all sources; raises only an exception that interrupts the calling greenlet."""
    if not sources:
        return NO_CONTEXT
    greenlets = {source.name: gevent.spawn(_run, source, question) for source in sources}
    try:
        gevent.sleep(0)  # lets the sources' timeouts start before the common one
        gevent.joinall([*greenlets.values()], timeout=max(source.seconds for source in sources) + GRACE_SECONDS)
    finally:
        gevent.killall([*greenlets.values()], block=False)
    results = {name: _result_of(greenlet, name, question) for name, greenlet in greenlets.items()}
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
    except Exception as error:  # noqa: BLE001 - the edge of this greenlet: an answer never fails because of its context
        # The message of an error may quote the question: only its type and place are logged.
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__} at {place.filename}:{place.lineno}"
    ms = int((time.monotonic() - started) * 1000)
    _log.warning("context_source_failed", source=source.name, generation=question.generation, ms=ms, error=reason)
    return _SourceResult(None, has_failed=True)
