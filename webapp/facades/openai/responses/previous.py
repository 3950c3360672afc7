"""`previous_response_id`: the next turn of a conversation, or a history for a request that stands alone."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from millrace.webapp.facades.openai.errors import invalid_parameter
from millrace.webapp.facades.openai.ids import RESPONSE, own_id
from millrace.webapp.facades.openai.responses.kept_history import read_history
from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.generation.views import current_transcript
from millrace.webapp.guard.ownership import owned_generation
from millrace.webapp.problems import Problem
from millrace.webapp.request_input import Json
from millrace.webapp.services import services
from millrace.worker.contract.state import GenerationState
from millrace.worker.store import answers, messages
from millrace.worker.store.answers import AnswerRecord

_PARAMETER = "previous_response_id"


@dataclass(frozen=True)
class PreviousResponse:
    """An earlier response of the owner; `is_newest` where it is the last one of a conversation."""

    state: GenerationState
    stored: AnswerRecord | None
    is_newest: bool

    def history(self) -> list[Json]:
        """Return the messages up to the response, with its own answer; raises Problem 400 where they are gone."""
        if self.state.is_running:
            detail = "The previous response is not finished. Wait until it is, or cancel it."
            raise Problem(409, "response_in_progress", detail, param=_PARAMETER)
        answer = {"role": "assistant", "content": self._answer()}
        question = _question_of(self.state, self.stored)
        if question is not None:
            return [*_earlier_turns(self.state, question), *_question(self.state, self.stored, question), answer]
        messages = read_history(self.state)
        if messages is None:
            detail = "The messages of the previous response are not stored. Send them all as 'input' instead."
            raise invalid_parameter(_PARAMETER, detail, "previous_response_not_found")
        return [*({"role": each.role, "content": each.content} for each in messages), answer]

    def _answer(self) -> str:
        transcript, _ = current_transcript(services(), self.state.generation)
        return transcript.content


def find_previous(theirs: str) -> PreviousResponse:
    """Return the owner's response with this id; raises Problem 400 where there is none, and as `owned_generation`."""
    try:
        state = owned_generation(own_id(RESPONSE, theirs))
    except Problem as problem:
        if problem.status != 404:
            raise
        raise _not_found(theirs) from problem
    stored = services().stored_logs.answer(state.generation, state.owner)
    question = _question_of(state, stored)
    return PreviousResponse(state, stored, question is not None and _is_newest(state, question))


def _question_of(state: GenerationState, stored: AnswerRecord | None) -> str | None:
    """Return the id of the question of a turn; None for a request that stands alone."""
    return state.question or (stored.question.id if stored else None)


def _is_newest(state: GenerationState, question: str) -> bool:
    """Return whether nothing follows the answer in its conversation; one that is not stored yet counts as last."""

    def read(session: Session) -> list[messages.MessageRecord]:
        return messages.page(session, state.owner, state.conversation, None, 1).items

    last = services().database.run(read)
    return not last or last[-1].id == question or last[-1].generation == state.generation


def _earlier_turns(state: GenerationState, question: str) -> list[Json]:
    """Return the messages of the conversation before a question, as many as a history may have."""
    max_turns = max(0, services().settings.limits.max_messages // 2 - 1)
    turns = services().database.run(
        lambda session: answers.read_history(session, state.conversation, question, max_turns)
    )
    return [
        {"role": role, "content": content}
        for turn in turns
        for role, content in (("user", turn.question), ("assistant", turn.answer))
    ]


def _question(state: GenerationState, stored: AnswerRecord | None, question: str) -> list[Json]:
    if stored is not None:
        return [{"role": "user", "content": stored.question.content}]
    found = services().database.run(lambda session: messages.find(session, state.owner, state.conversation, question))
    if found is None:
        raise _not_found(state.generation)
    return [{"role": "user", "content": found.content}]


def _not_found(theirs: str) -> Problem:
    detail = f"Previous response with id '{theirs[:MAX_ECHO_CHARS]}' not found."
    return invalid_parameter(_PARAMETER, detail, "previous_response_not_found")
