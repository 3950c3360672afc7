"""The log of a generation after its expiry: its stored answer, rendered as the same three events each time."""

from dataclasses import dataclass

from millrace.worker.contract.events import Done, encode, status_after
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry, read
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import GenerationState
from millrace.worker.store.answers import AnswerRecord, StoredAnswer, find_answer_of_generation
from millrace.worker.store.database import Database


@dataclass(frozen=True)
class StoredLogs:
    """Reads stored answers from the database; each method raises DatabaseUnavailable."""

    database: Database

    def answer(self, generation: str, owner: str | None = None) -> AnswerRecord | None:
        """Return the stored answer of a generation, without `owner` of any; None if there is none, or not yet."""
        return self.database.run(lambda session: find_answer_of_generation(session, generation, owner))

    def entries(self, generation: str) -> list[LogEntry]:
        """Return `snapshot`, outcome and `done` for a generation without a log; empty where no answer is stored."""
        stored = self.answer(generation)
        return [] if stored is None else entries_of(stored.answer)


def entries_of(answer: StoredAnswer) -> list[LogEntry]:
    """Return the three entries that replace the whole log; the last has the id of the original `done`."""
    epoch, last = answer.last_event
    events = (answer.snapshot("expired"), answer.outcome, Done(status_after(answer.outcome)))
    return [LogEntry(Cursor(epoch, seq), encode(event)) for seq, event in enumerate(events, last - 2)]


def state_of(stored: AnswerRecord) -> GenerationState:
    """Return the final state of a generation from its stored answer."""
    answer = stored.answer
    return GenerationState(
        generation=answer.generation,
        owner=stored.question.owner,
        conversation=stored.question.conversation,
        message=answer.id,
        status=status_after(answer.outcome),
        attempt=1,
        top=answer.last_event,
        is_done=True,
        on_disconnect="continue",
        created_ms=stored.created_ms,
        question=stored.question.id,
    )


def resume_cursor(streams: Streams, state: GenerationState, after: Cursor) -> Cursor:
    """Return the cursor to follow from; raises RedisUnavailable.

    The stored answer has no events between outcome and `done`. A reader that has seen such an event of the expired
    log has a cursor beyond the end of the stored one, and counts as having reached it.
    """
    is_beyond = state.is_done and after.epoch == state.top.epoch and after > state.top
    return state.top if is_beyond and not read(streams, state.generation, count=1).entries else after
