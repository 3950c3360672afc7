"""What outlives a generation's log: its stored answer, told as the same three events each time."""

from dataclasses import dataclass

from millrace.worker.contract.events import Done, Snapshot, encode, status_after
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.state import GenerationState
from millrace.worker.store.answers import AnswerRecord, StoredAnswer, find_answer_of_generation
from millrace.worker.store.database import Database


@dataclass(frozen=True)
class StoredLogs:
    """Asks the database; each method raises DatabaseUnavailable."""

    database: Database

    def kept(self, generation: str) -> AnswerRecord | None:
        """Return the stored answer of a generation, whosever it is; None where there is none, or not yet."""
        return self.database.run(lambda session: find_answer_of_generation(session, generation))

    def entries(self, generation: str) -> list[LogEntry]:
        """Return what a reader gets of a generation without a log: `snapshot`, outcome and `done`; or nothing."""
        kept = self.kept(generation)
        return [] if kept is None else retold(kept.answer)


def retold(answer: StoredAnswer) -> list[LogEntry]:
    """Return the three events that stand for the whole log; their ids end with that of its `done`."""
    epoch, last = answer.last_event
    snapshot = Snapshot(answer.content, answer.reasoning, list(answer.citations), list(answer.tools), reason="expired")
    events = (snapshot, answer.outcome, Done(status_after(answer.outcome)))
    return [LogEntry(Cursor(epoch, seq), encode(event)) for seq, event in enumerate(events, last - 2)]


def state_of(kept: AnswerRecord) -> GenerationState:
    """Return the state that a generation has ended in."""
    answer = kept.answer
    return GenerationState(
        generation=answer.generation,
        owner=kept.question.owner,
        conversation=kept.question.conversation,
        message=answer.id,
        status=status_after(answer.outcome),
        attempt=1,
        top=answer.last_event,
        is_done=True,
        on_disconnect="continue",
        created_ms=kept.created_ms,
    )
