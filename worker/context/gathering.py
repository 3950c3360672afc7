"""Asks all sources at once, each within its own time; what fails is logged and counted, and holds up nothing."""

import time
import traceback
from collections.abc import Sequence
from typing import NamedTuple

import gevent

from millrace.worker.context.source import NOTHING, ContextPart, ContextQuestion, Gathered, Source
from millrace.worker.observability.logs import get_logger

MARGIN_SECONDS = 0.5  # for a source that swallows its own end

_log = get_logger(__name__)


def gather(sources: Sequence[Source], question: ContextQuestion) -> Gathered:
    """Return what the sources give; raises only what interrupts the calling greenlet."""
    if not sources:
        return NOTHING
    greenlets = {source.name: gevent.spawn(_ask, source, question) for source in sources}
    try:
        gevent.sleep(0)  # they begin before our own time does
        gevent.joinall([*greenlets.values()], timeout=max(source.seconds for source in sources) + MARGIN_SECONDS)
    finally:
        gevent.killall([*greenlets.values()], block=False)
    asked = {name: _given_by(greenlet, name, question) for name, greenlet in greenlets.items()}
    pieces = {name: each.piece for name, each in asked.items() if each.piece is not None}
    return Gathered(pieces, failed=sum(each.has_failed for each in asked.values()))


class _Asked(NamedTuple):
    piece: ContextPart | None
    has_failed: bool


def _given_by(greenlet: "gevent.Greenlet[..., _Asked]", name: str, question: ContextQuestion) -> _Asked:
    if greenlet.value is not None:
        return greenlet.value
    _log.warning("context_source_stuck", source=name, generation=question.generation)
    return _Asked(None, has_failed=True)


def _ask(source: Source, question: ContextQuestion) -> _Asked:
    began = time.monotonic()
    timeout = gevent.Timeout(source.seconds)
    try:
        with timeout:
            return _Asked(source.gather(question), has_failed=False)
    except gevent.Timeout as over:
        why = "too slow" if over is timeout else "a timeout of its own"
    except Exception as error:  # noqa: BLE001 - the edge of this greenlet: an answer never fails by its context
        # The words of an error may hold a question's: only its kind and place go to the log.
        place = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__} at {place.filename}:{place.lineno}"
    ms = int((time.monotonic() - began) * 1000)
    _log.warning("context_source_failed", source=source.name, generation=question.generation, ms=ms, error=why)
    return _Asked(None, has_failed=True)
