"""Answers: kept once each, whole or partial, by whoever holds the newest claim; and what of them a prompt is told."""

from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import Integer, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from millrace.worker.contract.events import Complete, Error, Outcome, decode, encode
from millrace.worker.contract.ids import Cursor, parse_cursor
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.inserting import insert
from millrace.worker.store.messages import StoredQuestion, save_question
from millrace.worker.store.tables import ConversationRow, MessageRow


@dataclass(frozen=True)
class StoredAnswer:
    """How a generation ended: the text so far or whole, and the outcome, by the claim of this epoch.

    `last_event` is the id of its log's `done`, known before that is written. `model` and `provider` are None where
    nobody has been asked.
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


@dataclass(frozen=True)
class AnswerRecord:
    """An answer as it is kept: with the question that it belongs to, and its conversation's title.

    `created_ms` is the database's clock when it was first kept, in milliseconds since 1970.
    """

    question: StoredQuestion
    answer: StoredAnswer
    title: str | None
    created_ms: int


@dataclass(frozen=True)
class HistoryTurn:
    """One question and the text of its answer, neither of them blank."""

    question: str
    answer: str


def save_answer(session: Session, question: StoredQuestion, answer: StoredAnswer) -> bool:
    """Keep the answer to a question, and the question where it is not kept yet.

    The same again changes nothing. Where a later claim's answer is kept, that stands: returns False. So does a
    deleted conversation, or somebody else's.
    """
    if not save_question(session, question):
        return False
    values = _values(answer)
    kept_epoch = session.scalar(select(MessageRow.epoch).where(MessageRow.id == answer.id))
    if kept_epoch is not None:
        if kept_epoch > answer.epoch:
            return False
        session.execute(update(MessageRow).where(MessageRow.id == answer.id).values(values))
        return True
    turn = select(MessageRow.turn).where(MessageRow.id == question.id).scalar_subquery()
    ranks = select(func.max(MessageRow.rank) + 1).where(
        MessageRow.conversation == question.conversation, MessageRow.turn == turn
    )
    session.execute(
        insert(session, MessageRow).values(
            id=answer.id,
            conversation=question.conversation,
            turn=turn,
            rank=ranks.scalar_subquery(),
            role="assistant",
            parent=question.id,
            generation=answer.generation,
            created_ms=clock_ms(),
            **values,
        )
    )
    return True


def answer(session: Session, message: str) -> AnswerRecord | None:
    """Return the answer that is this message; whose it is, `question.owner` tells."""
    return _kept(session, MessageRow.id == message)


def answer_of_generation(session: Session, generation: str) -> AnswerRecord | None:
    """Return the answer that this generation gave; whose it is, `question.owner` tells."""
    return _kept(session, MessageRow.generation == generation)


def _history_query() -> Select[str, str]:
    asked, said, better = aliased(MessageRow), aliased(MessageRow), aliased(MessageRow)
    is_better = and_(
        better.conversation == said.conversation,
        better.turn == said.turn,
        better.rank > said.rank,
        better.content != "",
    )
    before = select(MessageRow.turn).where(MessageRow.id == bindparam("before")).scalar_subquery()
    return (
        select(asked.content, said.content)
        .join(said, and_(said.conversation == asked.conversation, said.turn == asked.turn, said.rank > 0))
        .where(asked.conversation == bindparam("conversation"), asked.rank == 0, said.content != "")
        .where(~select(better.id).where(is_better).exists())
        .where(or_(before.is_(None), asked.turn < before))
        .order_by(asked.turn.desc())
        .limit(bindparam("most", type_=Integer))
    )


_HISTORY = _history_query()  # once: to build it takes longer than to run it


def history(
    session: Session, conversation: str, before: str | None, most: int, most_chars: int | None = None
) -> list[HistoryTurn]:
    """Return the newest turns of a conversation, at most so many, oldest first: what a prompt is told of it.

    `before` is a question's id: only what comes before it is returned; all, where it is None or not kept. Of a turn's
    answers the last with any text counts, whatever its outcome; a turn without one is left out, so that roles
    alternate. With the turn that passes `most_chars` it ends.
    """
    turns: list[HistoryTurn] = []
    chars = 0
    for question, text in session.execute(_HISTORY, {"conversation": conversation, "before": before, "most": most}):
        if question.strip() and text.strip():
            turns.append(HistoryTurn(question, text))
            chars += len(question) + len(text)
        if most_chars is not None and chars > most_chars:
            break
    return turns[::-1]


def claim_learning(session: Session, generation: str) -> AnswerRecord | None:
    """Return the answer to learn from, once: None for a second call, and for one that is not kept and complete.

    What is learned belongs into the same transaction, so that a failure between the two leaves it to be done again.
    """
    taken = (
        update(MessageRow)
        .where(MessageRow.generation == generation, MessageRow.learned_ms.is_(None))
        .values(learned_ms=clock_ms())
        .returning(MessageRow.id)
    )
    if session.scalar(taken) is None:
        return None
    kept = answer_of_generation(session, generation)
    return kept if kept and isinstance(kept.answer.outcome, Complete) else None


def _values(answer: StoredAnswer) -> dict[str, Any]:
    outcome = answer.outcome
    return {
        "content": answer.content,
        "epoch": answer.epoch,
        "last_event": str(answer.last_event),
        "model": answer.model,
        "provider": answer.provider,
        "usage": None if isinstance(outcome, Error) else msgspec.to_builtins(outcome.usage),
        "latency": msgspec.to_builtins(outcome.latency) if isinstance(outcome, Complete) else None,
        "outcome": encode(outcome).decode("ascii"),
        "reasoning": answer.reasoning,
        "citations": list(answer.citations),
        "tools": list(answer.tools),
        "suggestions": list(answer.suggestions),
    }


def _kept(session: Session, which: Any) -> AnswerRecord | None:
    asked = aliased(MessageRow)
    query = (
        select(MessageRow, asked, ConversationRow)
        .join(asked, asked.id == MessageRow.parent)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation)
        .where(which)
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
        ),
        conversation.title,
        row.created_ms,
    )
