"""Answers: saved once each, complete or partial, by the generation's newest claim; and the history for a prompt."""

from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import Executable, Integer, Select, and_, bindparam, case, func, or_, select, update
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.orm import Session, aliased

from millrace.worker.contract.events import (
    Complete,
    ImageReference,
    Link,
    Outcome,
    Snapshot,
    SnapshotReason,
    decode,
    encode,
)
from millrace.worker.contract.ids import Cursor, parse_cursor
from millrace.worker.contract.request import ReasoningState
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversations import create_or_touch
from millrace.worker.store.messages import StoredQuestion, add_question, images_of, sources_of
from millrace.worker.store.prepared import PreparedInsert, PreparedQuery, Reader
from millrace.worker.store.tables import ConversationRow, MessageRow, RemovedQuestionRow


@dataclass(frozen=True)
class StoredAnswer:
    """A generation's complete or partial text and its outcome, produced under the claim of this epoch.

    `last_event` is the id of the log's `done`, which is known before `done` is appended. `model` and `provider` are
    None if no model was called.
    """

    id: str
    generation: str
    epoch: int
    last_event: Cursor
    content: str
    outcome: Outcome
    model: str | None = None
    provider: str | None = None
    reasoning: str = ""
    citations: tuple[Any, ...] = ()
    tools: tuple[Any, ...] = ()
    suggestions: tuple[str, ...] = ()
    images: tuple[ImageReference, ...] = ()
    reasoning_state: ReasoningState | None = None
    sources: tuple[Link, ...] = ()

    def snapshot(self, reason: SnapshotReason) -> Snapshot:
        """Return the snapshot that states the whole answer."""
        lists = list(self.citations), list(self.tools)
        return Snapshot(self.content, self.reasoning, *lists, reason, list(self.images))


@dataclass(frozen=True)
class AnswerRecord:
    """A stored answer with its question and its conversation's title.

    `created_ms` is the database's clock when the answer was first saved, in milliseconds since 1970.
    """

    question: StoredQuestion
    answer: StoredAnswer
    title: str | None
    created_ms: int


@dataclass(frozen=True)
class HistoryTurn:
    """A question and the text of its answer, which is empty if the answer failed before any text, and its reasoning."""

    question: str
    answer: str
    reasoning_state: ReasoningState | None = None


_STORED = select(
    select(MessageRow.epoch).where(MessageRow.id == bindparam("answer")).scalar_subquery(),
    select(RemovedQuestionRow.id).where(RemovedQuestionRow.id == bindparam("question")).exists(),
)


def _add_answer(row: Insert) -> Executable:
    turn = select(MessageRow.turn).where(MessageRow.id == bindparam("question")).scalar_subquery()
    next_rank = select(func.max(MessageRow.rank) + 1).where(
        MessageRow.conversation == bindparam("of_conversation"), MessageRow.turn == turn
    )
    return row.values(turn=turn, rank=next_rank.scalar_subquery(), role="assistant", created_ms=clock_ms())


_ADD_ANSWER = PreparedInsert(MessageRow, _add_answer)


def save_answer(session: Session, question: StoredQuestion, answer: StoredAnswer) -> bool:
    """Save the answer to a question, and the question if it is not stored yet. Saving it again changes nothing.

    Returns False, and saves nothing, if a later claim's answer is stored, if an edit has replaced the question, or if
    the conversation has been deleted or is another user's.
    """
    if not create_or_touch(session, question.owner, question.conversation):
        return False
    # After the conversation is locked: an edit that commits before is seen, and a later one finds the answer.
    asked = {"answer": answer.id, "question": question.id}
    stored_epoch, is_removed = session.connection().execute(_STORED, asked).one()
    if is_removed:
        return False
    add_question(session, question)
    values = _values(answer)
    if stored_epoch is not None:
        if stored_epoch > answer.epoch:
            return False
        values["is_indexed"] = case((MessageRow.content == answer.content, MessageRow.is_indexed), else_=None)
        session.execute(update(MessageRow).where(MessageRow.id == answer.id).values(values))
        return True
    ids = {"id": answer.id, "conversation": question.conversation, "parent": question.id}
    named = {"of_conversation": question.conversation, "question": question.id}
    _ADD_ANSWER.run(session, **ids, **values, **named, generation=answer.generation)
    return True


def find_answer(session: Session, message: str) -> AnswerRecord | None:
    """Return the answer with this message id, of any owner: compare `question.owner`."""
    return _find(session, MessageRow.id == message)


def find_answer_of_generation(session: Session, generation: str, owner: str | None = None) -> AnswerRecord | None:
    """Return the answer of this generation; without `owner`, of any owner: compare `question.owner`."""
    is_answer = MessageRow.generation == generation
    return _find(session, is_answer if owner is None else and_(is_answer, ConversationRow.owner == owner))


_FAILED = '{"type":"error"'  # the beginning of an `error` outcome


def _history_query() -> Select[int, str, str, str | None, Any]:
    question, answer, later = aliased(MessageRow), aliased(MessageRow), aliased(MessageRow)
    is_superseded = and_(
        later.conversation == answer.conversation,
        later.turn == answer.turn,
        later.rank > answer.rank,
        later.content != "",
    )
    is_failed = answer.outcome.startswith(_FAILED, autoescape=True)
    before = select(MessageRow.turn).where(MessageRow.id == bindparam("before")).scalar_subquery()
    return (
        select(question.turn, question.content, answer.content, answer.outcome, answer.reasoning_state)
        .join(answer, and_(answer.conversation == question.conversation, answer.turn == question.turn, answer.rank > 0))
        .where(
            question.conversation == bindparam("conversation"), question.rank == 0, or_(answer.content != "", is_failed)
        )
        .where(~select(later.id).where(is_superseded).exists())
        .where(or_(before.is_(None), question.turn < before))
        .order_by(question.turn.desc(), (answer.content == "").asc())
        .limit(bindparam("max_turns", type_=Integer))
    )


_HISTORY = PreparedQuery(_history_query())


def read_history(
    reader: Reader, conversation: str, before: str | None, max_turns: int, max_chars: int | None = None
) -> list[HistoryTurn]:
    """Return the newest turns of a conversation for a prompt, at most `max_turns`, oldest first.

    `before` is the id of a question: only turns before it are returned; all turns, if it is None or not stored. The
    last answer with text counts, whatever its outcome. A turn without one is left out, unless its answer failed: its
    question is returned with an empty answer. The turn that exceeds `max_chars` is the last one.
    """
    turns: list[HistoryTurn] = []
    chars = 0
    last: int | None = None
    rows = _HISTORY.rows(reader, conversation=conversation, before=before, max_turns=max_turns)
    for turn, question, answer, outcome, reasoning in rows:
        is_part = answer.strip() or (outcome or "").startswith(_FAILED)
        if turn != last and question.strip() and is_part:  # of a turn's rows the one with text comes first
            turns.append(HistoryTurn(question, answer if answer.strip() else "", _reasoning_state(reasoning)))
            chars += len(question) + len(answer)
        last = turn
        if max_chars is not None and chars > max_chars:
            break
    return turns[::-1]


def _reasoning_state(value: Any) -> ReasoningState | None:
    return None if value is None else msgspec.convert(value, ReasoningState)


def mark_learned(session: Session, generation: str) -> AnswerRecord | None:
    """Mark the answer as learned and return it; None if it was marked before, is not stored or not complete.

    Save the facts in the same transaction: if that fails, the mark is rolled back and the answer can be learned again.
    """
    change = (
        update(MessageRow)
        .where(MessageRow.generation == generation, MessageRow.learned_ms.is_(None))
        .values(learned_ms=clock_ms())
        .returning(MessageRow.id)
    )
    if session.scalar(change) is None:
        return None
    found = find_answer_of_generation(session, generation)
    return found if found and isinstance(found.answer.outcome, Complete) else None


def replace_outcome(session: Session, message: str, outcome: Outcome) -> None:
    """Replace the outcome of a stored answer, given the id of its message."""
    session.execute(update(MessageRow).where(MessageRow.id == message).values(outcome=encode(outcome).decode("ascii")))


def _values(answer: StoredAnswer) -> dict[str, Any]:
    outcome = answer.outcome
    return {
        "content": answer.content,
        "epoch": answer.epoch,
        "last_event": str(answer.last_event),
        "model": answer.model,
        "provider": answer.provider,
        "usage": msgspec.to_builtins(outcome.usage),
        "latency": msgspec.to_builtins(outcome.latency) if isinstance(outcome, Complete) else None,
        "outcome": encode(outcome).decode("ascii"),
        "reasoning": answer.reasoning,
        "citations": list(answer.citations),
        "tools": list(answer.tools),
        "suggestions": list(answer.suggestions),
        "images": msgspec.to_builtins(answer.images),
        "reasoning_state": msgspec.to_builtins(answer.reasoning_state),
        "sources": msgspec.to_builtins(answer.sources),
    }


def _find(session: Session, condition: Any) -> AnswerRecord | None:
    parent = aliased(MessageRow)
    query = (
        select(MessageRow, parent, ConversationRow)
        .join(parent, parent.id == MessageRow.parent)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation)
        .where(condition)
    )
    found = session.execute(query).first()
    if found is None:
        return None
    row, question, conversation = found
    return AnswerRecord(
        StoredQuestion(question.id, conversation.owner, conversation.id, question.content),
        StoredAnswer(
            row.id,
            row.generation or "",
            row.epoch or 0,
            parse_cursor(row.last_event or "") or Cursor(0, 0),
            row.content,
            cast("Outcome", decode(row.outcome or "")),
            row.model,
            row.provider,
            row.reasoning or "",
            tuple(row.citations or ()),
            tuple(row.tools or ()),
            tuple(row.suggestions or ()),
            images_of(row),
            _reasoning_state(row.reasoning_state),
            sources_of(row),
        ),
        conversation.title,
        row.created_ms,
    )
