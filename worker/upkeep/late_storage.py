"""Late storage: answers that ended without being stored, because a script ended them or the database was away."""

from random import sample

from msgspec.structs import replace

from millrace.worker.background_task import PeriodicTask
from millrace.worker.contract.events import Complete, Outcome
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.pending_storage import PendingAnswer, remove_pending, take_due
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.contract.request import ModelRequest, ReasoningState
from millrace.worker.contract.state import read_request, read_state
from millrace.worker.contract.sweep import remove_unreadable
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import DatabaseUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store import answers, conversations
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion

POLL_SECONDS = 2.0
RESERVED_MS = 10_000  # answers that one process has taken are hidden from the others for this long

_log = get_logger(__name__)


class LateStorage(PeriodicTask):
    """Stores the pending answers of one stream node; any number of processes may do so at once."""

    def __init__(self, streams: Streams, database: Database, name: str = CONTROL) -> None:
        super().__init__("store_late", POLL_SECONDS, self.store_due)
        self._streams = streams
        self._redis = streams.redis_of(name)
        self._database = database

    def store_due(self) -> None:
        """Store all answers that are due; raises RedisUnavailable, DatabaseUnavailable.

        After an error the remaining answers are due again once their reservation ends.
        """
        taken = take_due(self._redis, RESERVED_MS)
        # In another order each time: one that the database rejects is not always taken before the same others.
        for pending in sample(taken, len(taken)):
            try:
                self._store(pending)
            except (RedisUnavailable, DatabaseUnavailable):
                raise
            except RedisKeyInvalid as error:
                remove_unreadable(self._redis, pending.generation, error)
            except Exception:  # noqa: BLE001 - an answer that can't be stored must not hold up the others
                _log.exception("store_failed", generation=pending.generation)
            else:
                remove_pending(self._redis, pending)

    def _store(self, pending: PendingAnswer) -> None:
        generation = pending.generation
        state, request = read_state(self._streams, generation), read_request(self._streams, generation)
        transcript, last = read_transcript(self._streams, generation)
        if state is None or request is None or transcript.outcome is None or not transcript.is_done:
            # The log has expired. Or Redis has lost its end, which the worker then appends, and notes here, again.
            missing = "state" if state is None else "request" if request is None else "log"
            _log.error("answer_not_stored", generation=generation, missing=missing)
            return
        question = StoredQuestion(state.question, state.owner, state.conversation, request.messages[-1].content)
        answer = make_stored_answer(
            transcript, transcript.outcome, last, request, message=state.message, generation=generation
        )
        is_stored = self._database.run(lambda session: answers.save_answer(session, question, answer))
        if is_stored and transcript.title is not None:
            title = transcript.title
            self._database.run(
                lambda session: conversations.set_title_if_untitled(
                    session, question.owner, question.conversation, title
                )
            )
        _log.info("stored_late", generation=generation, is_stored=is_stored)


def make_stored_answer(
    transcript: Transcript,
    outcome: Outcome,
    done: Cursor,
    request: ModelRequest,
    *,
    message: str,
    generation: str,
    reasoning_state: ReasoningState | None = None,
) -> StoredAnswer:
    """Return the answer as the database keeps it; `done` is the id of the log's last event.

    The answer names the model and the provider that gave it; before any content, the requested model.
    """
    is_complete = isinstance(outcome, Complete)
    return StoredAnswer(
        id=message,
        generation=generation,
        epoch=done.epoch,
        last_event=done,
        content=transcript.content,
        outcome=replace(outcome, stored=True) if is_complete else outcome,
        model=outcome.model or request.model,
        provider=outcome.provider,
        reasoning=transcript.reasoning,
        citations=tuple(transcript.citations),
        tools=tuple(transcript.tools),
        suggestions=tuple(transcript.suggestions or ()),
        images=tuple(transcript.images),
        reasoning_state=reasoning_state if is_complete else None,
        sources=tuple(transcript.sources),
    )
