"""Stores, from their logs, the answers that have ended unstored: by a script, or while the database was away."""

import random

from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.pending_storage import PendingAnswer, remove_pending, take_due
from millrace.worker.contract.state import read_request, read_state
from millrace.worker.errors import DatabaseUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.record import record
from millrace.worker.store import answers, conversations
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion

LOOK_SECONDS = 2.0
PUT_OFF_MS = 10_000  # what one process has taken, the others leave alone for so long

_log = get_logger(__name__)


class LateStorage(BackgroundTask):
    """One greenlet a process; any number of processes may be about it at once."""

    def __init__(self, store: Redis, database: Database) -> None:
        super().__init__()
        self._redis = store
        self._database = database

    def look(self) -> None:
        """Store all that is due; raises RedisUnavailable, and DatabaseUnavailable, after which the rest is due again in a while."""
        for arrear in take_due(self._redis, PUT_OFF_MS):
            try:
                self._store(arrear)
            except (RedisUnavailable, DatabaseUnavailable):
                raise
            except Exception:  # noqa: BLE001 - one that can't be stored must not keep back the others
                _log.exception("store_failed", generation=arrear.generation)
            else:
                remove_pending(self._redis, arrear)

    def _store(self, arrear: PendingAnswer) -> None:
        generation = arrear.generation
        state, request = read_state(self._redis, generation), read_request(self._redis, generation)
        told, last = read_transcript(self._redis, generation)
        if state is None or request is None or told.outcome is None or not told.is_done:
            # Its log has expired, or Redis has lost its end, which is then told, and noted, again.
            _log.error("answer_not_stored", generation=generation)
            return
        question = StoredQuestion(state.question, state.owner, state.conversation, request.messages[-1].content)
        named = {"message": state.message, "generation": generation}
        answer = record(told, told.outcome, last, request, **named)
        is_kept = self._database.run(lambda session: answers.save_answer(session, question, answer))
        if is_kept and told.title is not None:
            title = told.title
            self._database.run(
                lambda session: conversations.set_title_if_untitled(
                    session, question.owner, question.conversation, title
                )
            )
        _log.info("stored_late", generation=generation, kept=is_kept)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS * random.uniform(0.7, 1.3)):
            try:
                self.look()
            except (RedisUnavailable, DatabaseUnavailable) as error:
                _log.warning("archivist_put_off", error=error)
            except Exception:  # noqa: BLE001 - the edge of this greenlet
                _log.exception("archivist_failed")
