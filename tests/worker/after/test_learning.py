"""Learning from answers: once each, from whole ones only, tried again where it may help, passed on by who leaves."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pytest
from gevent.event import Event

from millrace.worker.after import learning
from millrace.worker.after.learning import Learner
from millrace.worker.contract.events import Cancelled, Chunk, Error, Usage
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import LEARNING_QUEUE, learning_key
from millrace.worker.errors import GenerationFailed
from millrace.worker.generation import generate
from millrace.worker.providers.protocol import Prompt, WholeAnswer
from millrace.worker.providers.stub import Reply
from millrace.worker.store import answers, conversations, memories
from tests.worker.after.conftest import Hire, told
from tests.worker.after.school import FACTS, ON, WHOLE, School
from tests.worker.desk import wait_until

BUSY = GenerationFailed("provider_throttled", retryable=True)


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FIRST_BACKOFF_SECONDS", 0.01)


Open = Callable[..., School]


@pytest.fixture
def school(hire: Hire) -> Iterator[Open]:
    made: list[School] = []

    def build(reply: Reply = FACTS, **settings: object) -> School:
        made.append(School(hire({"remember_facts": reply}, **(ON | settings))))
        return made[-1]

    yield build
    for each in made:
        each.learner.stop()


def test_facts_are_kept_with_where_they_come_from(school: Open) -> None:
    at = school()
    generation = at.answered()
    at.learn(generation)
    assert at.known() == ["The user is called Ann.", "The user lives in Leeds."]
    page = at.database.run(lambda session: memories.page(session, "somebody", None, 10))
    assert {memory.generation for memory in page.items} == {generation}
    assert at.known("somebody else") == []
    (prompt,) = at.hired.stub.questions
    assert [message.content for message in prompt.messages[:2]] == ["I am Ann.", "Hello Ann."]


def test_what_is_known_is_told_to_the_model_and_not_kept_twice(school: Open) -> None:
    at = school(told(facts=["the user is called ANN!", "The user has a cat."]))
    at.database.run(lambda session: memories.add(session, "somebody", "The user is called Ann."))
    at.learn(at.answered())
    assert at.known() == ["The user is called Ann.", "The user has a cat."]
    assert "The user is called Ann." in at.hired.stub.questions[0].system[0]


def test_a_generation_is_learned_from_once_however_often_it_is_rung(school: Open) -> None:
    at, other = school(), None
    generation = at.answered()
    other = Learner(at.hired.process)
    other.start()
    for learner in (at.learner, other) * 10:
        learner.enqueue(generation)
    at.wait()
    wait_until(lambda: other.is_idle, "the other")
    other.stop()
    assert at.calls() == 1
    assert len(at.known()) == 2


def test_what_was_learned_once_is_not_learned_again_when_the_mark_is_gone(school: Open) -> None:
    at = school()
    generation = at.answered()
    at.learn(generation)
    at.hired.desk.redis.delete(learning_key(generation))
    at.database.run(lambda session: [memories.delete(session, "somebody", each) for each in _ids(at)])
    at.learn(generation)
    assert at.known() == []


def _ids(at: School) -> Sequence[str]:
    return [memory.id for memory in at.database.run(lambda s: memories.page(s, "somebody", None, 10)).items]


@pytest.mark.parametrize(
    ("outcome", "content", "question"),
    [
        (Cancelled("user", Usage(1, 1)), "half", "I am Ann."),
        (Error("truncated", "It broke off.", retryable=True), "half", "I am Ann."),
        (WHOLE, " \n", "I am Ann."),
        (WHOLE, "Yes.", " "),
    ],
)
def test_only_a_whole_answer_in_words_is_learned_from(school: Open, outcome: Any, content: str, question: str) -> None:
    at = school()
    at.learn(at.answered(outcome, content, question))
    assert at.calls() == 0
    assert at.known() == []


def test_a_model_that_is_busy_is_asked_again_and_nothing_comes_twice(school: Open) -> None:
    replies: list[Reply] = [BUSY, told(facts="nonsense"), BUSY, FACTS]

    def reply(_: Prompt) -> WholeAnswer:
        one = replies.pop(0)
        if isinstance(one, GenerationFailed):
            raise one
        assert isinstance(one, WholeAnswer)
        return one

    at = school(reply)
    at.learn(at.answered())
    assert at.calls() == 4
    assert len(at.known()) == 2


def test_a_model_that_refuses_is_not_asked_again(school: Open) -> None:
    at = school(GenerationFailed("provider_rejected", retryable=False))
    at.learn(at.answered())
    assert at.calls() == 1


def test_it_is_given_up_in_the_end_and_said(school: Open, caplog: pytest.LogCaptureFixture) -> None:
    at = school(BUSY)
    generation = at.answered()
    at.learn(generation)
    assert at.calls() == learning.MAX_TRIES
    assert f"learning_failed generation={generation}" in caplog.text
    assert "Ann" not in caplog.text


def test_a_model_that_hangs_is_given_up(school: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "CALL_TIMEOUT_SECONDS", 0.05)
    hung: list[Prompt] = []

    def hang(prompt: Prompt) -> WholeAnswer:
        hung.append(prompt)
        if len(hung) == 1:
            Event().wait()
        return FACTS

    at = school(hang)
    at.learn(at.answered())
    assert len(hung) == 2
    assert len(at.known()) == 2


def test_an_answer_that_is_kept_late_is_learned_from_late(school: Open, caplog: pytest.LogCaptureFixture) -> None:
    at = school()
    generation = at.hired.desk.make("I am Ann.")
    asked = at.hired.keep_question(generation, "I am Ann.")
    at.learner.enqueue(generation)
    wait_until(lambda: "error=AnswerNotStored" in caplog.text, "a first try")
    at.keep(generation, asked)
    at.wait()
    assert len(at.known()) == 2


def test_a_conversation_that_is_deleted_meanwhile_teaches_nothing(school: Open) -> None:
    def reply(_: Prompt) -> WholeAnswer:
        kept = at.database.run(lambda session: answers.find_answer_of_generation(session, generation))
        assert kept is not None
        conversation = kept.question.conversation
        assert at.database.run(lambda session: conversations.delete(session, "somebody", conversation))
        return FACTS

    at = school(reply)
    generation = at.answered()
    at.learn(generation)
    assert at.known() == []


def test_who_leaves_rings_again_for_what_it_has_not_done(school: Open) -> None:
    begun: list[Prompt] = []

    def hang(prompt: Prompt) -> WholeAnswer:
        begun.append(prompt)
        Event().wait()
        return FACTS

    at = school(hang)
    generations = [at.answered() for _ in range(learning.CONCURRENCY + 3)]
    for generation in generations:
        at.learner.enqueue(generation)
    wait_until(lambda: len(begun) == learning.CONCURRENCY, "all hands full")
    at.learner.stop()
    assert at.rung() == len(generations)
    after = Learner(at.hired.process)
    at.hired.stub.replies = {"remember_facts": FACTS}
    after.start()
    for generation in generations:
        after.enqueue(generation)
    wait_until(lambda: after.is_idle, "the other")
    after.stop()
    assert len(at.known()) == 2
    assert at.calls() == learning.CONCURRENCY + len(generations)


def test_a_backlog_is_bounded_and_said(
    school: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(learning, "MAX_QUEUED", 1)
    at = school()
    at.learner.stop()
    for _ in range(2):
        at.learner.enqueue(new_id())
    assert caplog.text.count("learning_dropped") == 1


@pytest.mark.parametrize(("settings", "rings"), [({}, 1), ({"learning": 0}, 0)])
def test_it_is_rung_for_after_done_where_it_is_switched_on(school: Open, settings: dict[str, int], rings: int) -> None:
    at = school(**settings)
    generation = at.hired.make()
    generate(at.hired.process, generation)
    assert at.rung() == rings


def test_what_failed_is_not_rung_for(hire: Hire) -> None:
    hired = hire(script=(Chunk("half"),), **ON)
    generation = hired.make()
    generate(hired.process, generation)
    assert hired.desk.redis.llen(LEARNING_QUEUE) == 0


def test_others_have_their_turn_while_many_are_learned_from(school: Open) -> None:
    at = school(lambda _: (gevent.sleep(0.01), FACTS)[1])
    for _ in range(40):
        at.learner.enqueue(at.answered())
    at.wait()
    assert at.calls() == 40
    assert len(at.known()) == 2
