"""Takeover: a later attempt publishes the complete answer that an earlier one has stored, or starts from a snapshot.

The snapshot is empty, or, if `takeover` is set to `continue`, holds the text so far.
"""

import time

import gevent
import msgspec

from millrace.worker.contract.events import Complete, Snapshot
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import DatabaseUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.finishing import STORE_SECONDS
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.store import answers
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.upkeep.watcher import RunningGeneration

EMPTY_SNAPSHOT = Snapshot("", "", [], [], "takeover")
READ_SECONDS = 20.0
READ_PAUSE_SECONDS = 0.25

_log = get_logger(__name__)


def find_complete_answer(process: WorkerProcess, claimed: ClaimedGeneration) -> StoredAnswer | None:
    """Return the complete answer that an earlier attempt stored but did not finish publishing.

    None if this is the first attempt, if there is no such answer, or if the database does not answer in time.
    """
    if not claimed.question or claimed.is_first_attempt:
        return None
    try:
        record = process.database.run(lambda session: answers.find_answer(session, claimed.message), STORE_SECONDS)
    except DatabaseUnavailable as error:
        _log.warning("database_unavailable", generation=claimed.claim.generation, error=error)
        return None
    return record.answer if record is not None and isinstance(record.answer.outcome, Complete) else None


def starting_snapshot(process: WorkerProcess, run: RunningGeneration) -> Snapshot | None:
    """Return the snapshot that this attempt starts from, or None if it is the first attempt.

    Waits for Redis for a bounded time. The snapshot is empty if the answer can't be continued from the text so far.
    """
    if run.claimed.is_first_attempt:
        return None
    may_continue = process.settings.generation.takeover == "continue" and run.claimed.request.schema is None
    transcript = _read_transcript(process, run) if may_continue else None
    if transcript is None or transcript.tools:  # a tool call without its result can't be continued
        return EMPTY_SNAPSHOT
    content = _trim(transcript.content)
    return msgspec.structs.replace(transcript.snapshot("takeover"), content=content) if content else EMPTY_SNAPSHOT


def text_to_continue(run: RunningGeneration) -> str | None:
    """Return the text from which another model may continue an answer that was cut off; None if it must not.

    Only the request can allow it, and only for plain text: neither a tool call nor JSON can be continued.
    """
    request = run.claimed.request
    if request.on_midstream_failure != "continue" or request.schema is not None:
        return None
    transcript = run.outbox.full_transcript()
    return None if transcript.tools else _trim(transcript.content)


def restarting_snapshot(run: RunningGeneration, content: str) -> Snapshot:
    """Return the snapshot from which an answer goes on when another call continues it, or begins it again."""
    if not content:
        return EMPTY_SNAPSHOT if run.meter.is_first_call else msgspec.structs.replace(EMPTY_SNAPSHOT, reason="fallback")
    return msgspec.structs.replace(run.outbox.full_transcript().snapshot("fallback"), content=content)


def _read_transcript(process: WorkerProcess, run: RunningGeneration) -> Transcript | None:
    give_up_at = time.monotonic() + READ_SECONDS
    while True:
        try:
            with process.tasks_of(run.generation).slots_of(run.generation):
                return read_transcript(process.streams, run.generation)[0]
        except RedisUnavailable as error:
            if time.monotonic() > give_up_at or run.interrupt.reason is not None:
                _log.warning("takeover_log_not_read", generation=run.generation, error=error)
                return None
        except RedisKeyInvalid as error:  # an event that this version does not know
            _log.warning("takeover_log_not_read", generation=run.generation, error=type(error).__name__)
            return None
        gevent.sleep(READ_PAUSE_SECONDS)


def _trim(text: str) -> str:
    """Return the text without trailing whitespace, which Bedrock rejects, and without an incomplete surrogate pair."""
    text = text.rstrip()
    while "\ud800" <= text[-1:] <= "\udbff":
        text = text[:-1].rstrip()
    return text
